import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;

/** An emulator of MongoDB for tests: Main PORT FILE. */
public class Main {
  public static void main(String[] args) throws Exception {
    H2Backend backend = new Durable(args[1]);
    backend.version(new Recent());
    new MongoServer(backend).bind("127.0.0.1", Integer.parseInt(args[0]));
    System.out.println("ready");
    Thread.currentThread().join();
  }

  /** Commits before it replies, so that an acknowledged write outlives a kill. */
  static class Durable extends H2Backend {
    Durable(String file) {
      super(file);
    }

    @Override
    public Document handleMessage(MongoMessage message) {
      try {
        return super.handleMessage(message);
      } finally {
        commit();
      }
    }
  }

  /** The driver refuses what the emulator says of itself. */
  static class Recent implements MongoVersion {
    @Override
    public List<Integer> getVersionArray() {
      return List.of(4, 4, 0);
    }

    @Override
    public int getWireVersion() {
      return 9;
    }
  }
}
