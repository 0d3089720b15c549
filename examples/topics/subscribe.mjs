// Print plant events as they happen, from a queue of one's own: `subscribe.mjs [pattern] [count]`.
import amqp from "amqplib";

const [pattern = "#", count = "-1"] = process.argv.slice(2);
const exchanges = ["plant.production", "plant.inventory", "plant.quality", "plant.resource"];
const queue = "dashboard.plant-events";
const knownMax = 10_000;

const connection = await amqp.connect(process.env.LINESHAFT_AMQP_URL);
const channel = await connection.createChannel();
await channel.prefetch(100);
// Durable and bounded: it collects while this program is away, and when nobody ever comes back
// the oldest events go, instead of the broker's disk filling up.
await channel.assertQueue(queue, {
  durable: true,
  arguments: { "x-queue-type": "quorum", "x-max-length": 100_000 },
});
for (const exchange of exchanges) await channel.bindQueue(queue, exchange, pattern);

const known = new Set();
let left = Number(count);
await channel.consume(queue, async (message) => {
  if (message === null) throw new Error("the queue was deleted");
  if (left === 0) return; // Not acknowledged: it stays for the next run.
  const event = JSON.parse(message.content.toString());
  const key = `${event.source} ${event.id}`;
  if (!known.has(key)) { // Delivery is at least once.
    known.add(key);
    if (known.size > knownMax) known.delete(known.values().next().value);
    console.log(event.time, message.fields.routingKey, JSON.stringify(event.data));
    left -= 1;
  }
  // Only now: an event whose handling ended halfway comes again.
  channel.ack(message);
  if (left === 0) {
    await channel.close();
    await connection.close();
  }
});
