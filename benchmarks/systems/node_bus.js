// A Node event bus of the simplest kind: per publish INSERT, PUBLISH, RPUSH per group, two HINCRBY; per group a BLPOP loop.
//
// `node node_bus.js` speaks the protocol of benchmarks/publishing.py; `node node_bus.js GROUP` consumes.
"use strict";
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const { performance } = require("perf_hooks");
const { Client } = require("pg");
const Redis = require("ioredis");

const GROUPS = ["inventory", "notification", "analytics"];
const RECORD = `WITH recorded AS (INSERT INTO event (type, data) VALUES ($1, $2::jsonb) RETURNING id), owed AS (
  INSERT INTO delivery (event_id, group_name) SELECT recorded.id, names.name FROM recorded, unnest($3::text[]) AS names (name)
) SELECT id FROM recorded`;
const DONE = "UPDATE delivery SET state = 'done', finished_at = clock_timestamp() WHERE event_id = $1 AND group_name = $2";

const now = () => (performance.timeOrigin + performance.now()) / 1000;

function order(number) {
  return {
    orderId: `o-${String(number).padStart(8, "0")}`,
    customer: { id: `c-${String(number % 997).padStart(4, "0")}`, name: "Ada Lovelace", email: "ada@example.com" },
    lines: [
      { sku: "sku-1001", quantity: 2, price: "19.90" },
      { sku: "sku-2002", quantity: 1, price: "5.00" },
    ],
    amount: "44.80",
    currency: "EUR",
    note: "please ring twice",
    placedAt: now(),
  };
}

async function connect(quick) {
  const options = quick ? "-c synchronous_commit=off" : "";
  const database = new Client({ connectionString: process.env.BENCH_DATABASE_URL, options });
  await database.connect();
  return [database, new Redis(process.env.BENCH_BROKER_URL)];
}

async function publish(database, redis, data) {
  const text = JSON.stringify(data);
  const result = await database.query({ name: "record", text: RECORD, values: ["order.created", text, GROUPS] });
  const message = JSON.stringify({ event: result.rows[0].id, order: data });
  await Promise.all([
    redis.publish("events:order.created", text),
    ...GROUPS.map((group) => redis.rpush(`queue:${group}`, message)),
    redis.hincrby("published", "order.created", 1),
    redis.hincrby("published", "total", 1),
  ]);
}

async function consume(group) {
  const [database, redis] = await connect(true);
  const folder = process.env.BENCH_TRACES;
  const file = folder ? fs.openSync(path.join(folder, `${process.pid}.txt`), "a") : null;
  for (;;) {
    const [, text] = await redis.blpop(`queue:${group}`, 0);
    const message = JSON.parse(text);
    if (file !== null) fs.writeSync(file, `${(now() - message.order.placedAt).toFixed(6)}\n`);
    await database.query({ name: "done", text: DONE, values: [message.event, group] });
  }
}

async function speak() {
  const [database, redis] = await connect(false);
  let number = 0;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    const seconds = [];
    const began = performance.now();
    for (let done = 0; asked.do === "fill" && done < asked.count; done += 50) {
      const some = Array.from({ length: Math.min(50, asked.count - done) }, () => order((number += 1)));
      await Promise.all(some.map((data) => publish(database, redis, data)));
    }
    for (let done = 0; asked.do !== "fill" && done < asked.count; done += 1) {
      if (asked.per_second) {
        const wait = began + (done * 1000) / asked.per_second - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      }
      const start = performance.now();
      await publish(database, redis, order((number += 1)));
      seconds.push((performance.now() - start) / 1000);
    }
    const all = (performance.now() - began) / 1000;
    process.stdout.write(`${JSON.stringify({ seconds: asked.do === "publish" ? seconds : [all] })}\n`);
  }
  process.exit(0);
}

(process.argv[2] ? consume(process.argv[2]) : speak()).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
