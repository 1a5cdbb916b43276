import { redisUrl } from "../backends.js"
import { sharing } from "./sharing.js"

sharing({ name: "Redis", url: redisUrl })
