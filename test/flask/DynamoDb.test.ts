import { dynamoDbUrl } from "../backends.js"
import { sharing } from "./sharing.js"

sharing({
  name: "DynamoDB",
  url: dynamoDbUrl && `dynamodb://eu-central-1/flask-${process.pid}?endpoint=${dynamoDbUrl}`,
  // Flask-Session shifts its deadline by the zone of its host
  precision: 5 * 3600 + 2
})
