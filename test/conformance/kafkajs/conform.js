// Creates a topic and writes the records of a file to it with KafkaJS: conform.js BOOTSTRAP TOPIC CODEC IDEMPOTENT WANT
// RECORDS. Then a group of two reads them. KafkaJS reads in groups only, so what it reads is counted, not compared. The file is the judge's.
const fs = require('node:fs');
const zlib = require('node:zlib');
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');

const [bootstrap, topic, codec, idempotent, want, count] = process.argv.slice(2);
const total = Number(count);
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD };
const batchRecords = 500, batchBytes = 900_000;

function load(codec) {
  if (codec === 'snappy') CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
  if (codec === 'lz4') CompressionCodecs[CompressionTypes.LZ4] = new (require('kafkajs-lz4'))().codec;
  if (codec === 'zstd') {
    if (!zlib.zstdCompressSync) { console.error('this Node has no zstd'); process.exit(3); }
    CompressionCodecs[CompressionTypes.ZSTD] = () => ({ compress: async (e) => zlib.zstdCompressSync(e.buffer), decompress: async (b) => zlib.zstdDecompressSync(b) });
  }
}

function* records() {
  const b = fs.readFileSync(want);
  let at = 0;
  const blob = () => {
    const n = b.readInt32BE(at); at += 4;
    if (n < 0) return null;
    at += n;
    return b.subarray(at - n, at);
  };
  while (at < b.length) {
    const partition = b.readInt32BE(at), timestamp = b.readBigInt64BE(at + 4).toString(); at += 12;
    const key = blob(), value = blob(), headers = {};
    const n = b.readInt32BE(at); at += 4;
    for (let i = 0; i < n; i++) {
      const name = blob().toString(), v = blob();
      headers[name] = name in headers ? [].concat(headers[name], [v]) : v;
    }
    yield { partition, timestamp, key, value, headers };
  }
}

async function main() {
  load(codec);
  const kafka = new Kafka({ clientId: 'conformance', brokers: [bootstrap], logLevel: logLevel.ERROR });
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 3, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '-1' }] }] });
  await admin.disconnect();
  const producer = kafka.producer({ idempotent: idempotent === 'true', maxInFlightRequests: 1, allowAutoTopicCreation: false });
  await producer.connect();
  let messages = [], bytes = 0;
  const flush = async () => {
    if (messages.length) await producer.send({ topic, acks: -1, compression: codecs[codec], messages });
    messages = []; bytes = 0;
  };
  for (const m of records()) {
    const size = (m.value ? m.value.length : 0) + 200;
    if (messages.length >= batchRecords || bytes + size > batchBytes) await flush();
    messages.push(m); bytes += size;
  }
  await flush();
  await producer.disconnect();
  await readInGroup(kafka);
}

// readInGroup reads everything in a group of two members: every record once, those of a partition in order.
async function readInGroup(kafka) {
  const groupId = `${topic}-group`, next = new Map(), members = [];
  let seen = 0, settle;
  const done = new Promise((resolve, reject) => { settle = { resolve, reject }; });
  const timer = setTimeout(() => settle.reject(new Error(`${seen} of ${total} records read in a group`)), 120_000);
  const joined = [];
  for (let i = 0; i < 2; i++) {
    const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10_000 });
    members.push(consumer);
    joined.push(new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, (e) => {
      if (Object.values(e.payload.memberAssignment).flat().length < 3) resolve();
    })));
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
  }
  let ready = false; // nobody reads before both have their share
  Promise.all(joined).then(() => { ready = true; });
  for (const consumer of members) {
    await consumer.run({
      eachBatchAutoResolve: false,
      eachBatch: async ({ batch, heartbeat, resolveOffset, commitOffsetsIfNecessary }) => {
        await heartbeat(); // fails where the group rebalances, and the batch comes again
        if (!ready) return new Promise((resolve) => setTimeout(resolve, 200));
        for (const m of batch.messages) {
          const expected = next.get(batch.partition) ?? 0;
          if (Number(m.offset) !== expected) settle.reject(new Error(`offset ${m.offset} instead of ${expected} of partition ${batch.partition}`));
          next.set(batch.partition, expected + 1);
          resolveOffset(m.offset);
          if (++seen === total) settle.resolve();
        }
        await commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition: batch.partition, offset: String(next.get(batch.partition)) }] }] });
      },
    });
  }
  await done;
  clearTimeout(timer);
  for (const consumer of members) await consumer.disconnect();
}

main().then(() => process.exit(0), (e) => { console.error(e.message || e); process.exit(1); });
