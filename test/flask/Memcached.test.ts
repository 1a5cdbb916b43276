import { memcachedUrl } from "../backends.js"
import { sharing } from "./sharing.js"

sharing({ name: "Memcached", url: memcachedUrl })
