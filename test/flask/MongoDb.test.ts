import { mongoDbUrl } from "../backends.js"
import { sharing } from "./sharing.js"

sharing({ name: "MongoDB", url: mongoDbUrl && `${mongoDbUrl}/flask_${process.pid}` })
