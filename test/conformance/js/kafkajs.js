// The conformance program of KafkaJS; the Go package conform says what its verbs do. KafkaJS reads in groups only.
const zlib = require('node:zlib');
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');
const conform = require('./conform');

const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD };

// use registers the codecs that KafkaJS leaves to other packages: lz4 comes for the Node of the machine, zstd with Node 22.15.
function use() {
  const codec = process.env.CODEC;
  if (codec === 'snappy') CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
  if (codec === 'lz4') CompressionCodecs[CompressionTypes.LZ4] = new (require('kafkajs-lz4'))().codec;
  if (codec === 'zstd') CompressionCodecs[CompressionTypes.ZSTD] = () => ({ compress: async (e) => zlib.zstdCompressSync(e.buffer), decompress: async (b) => zlib.zstdDecompressSync(b) });
}

const connect = (bootstrap) => { use(); return new Kafka({ clientId: 'conformance', brokers: conform.addresses(bootstrap), logLevel: logLevel.ERROR, logCreator: () => ({ log }) => console.error(log.message, log.error ?? '') }); };

async function withAdmin(kafka, use) {
  const admin = kafka.admin();
  await admin.connect();
  try { return await use(admin); } finally { await admin.disconnect(); }
}

const create = (admin, topic) => admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: conform.partitions, replicationFactor: conform.replicas, configEntries: [{ name: 'retention.ms', value: '-1' }] }] });

async function newProducer(kafka, idempotent) {
  const producer = kafka.producer({ idempotent, maxInFlightRequests: 1, allowAutoTopicCreation: false });
  await producer.connect();
  return producer;
}

// headersOf turns pairs into KafkaJS's object, in which a name with several values has a list.
function headersOf(pairs) {
  const headers = {};
  for (const [k, v] of pairs) headers[k] = k in headers ? [].concat(headers[k], [v]) : v;
  return headers;
}
const pairsOf = (headers) => Object.entries(headers ?? {}).flatMap(([k, v]) => Array.isArray(v) ? v.map((one) => [k, one]) : [[k, v]]);

async function produce(bootstrap, topic, codec, idempotent, want) {
  const kafka = connect(bootstrap);
  await withAdmin(kafka, (admin) => create(admin, topic));
  const producer = await newProducer(kafka, idempotent === 'true');
  for (const batch of conform.batches(conform.records(want))) {
    const messages = batch.map((r) => ({ ...r, timestamp: String(r.timestamp), headers: headersOf(r.headers) }));
    await producer.send({ topic, acks: -1, compression: codecs[codec], messages });
  }
  await producer.disconnect();
}

async function join(kafka, topic, groupId) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 30000, heartbeatInterval: 500, rebalanceTimeout: 30_000, maxWaitTimeInMs: 200, allowAutoTopicCreation: false });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  return consumer;
}

async function consume(bootstrap, topic, count, got) {
  const kafka = connect(bootstrap), consumer = await join(kafka, topic, `${topic}-reader`);
  const out = new conform.Got(got, Number(count));
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${out.count} of ${count} records read`)), 120_000);
    consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, heartbeat }) => {
        try {
          for (const m of batch.messages) if (out.put(batch.partition, m.offset, m.timestamp, m.key, m.value, pairsOf(m.headers))) resolve();
        } catch (e) { reject(e); }
        await heartbeat();
      },
    });
  });
  await consumer.disconnect();
}

async function member(bootstrap, topic, groupId) {
  const leave = conform.stdinEnds(), consumer = await join(connect(bootstrap), topic, groupId);
  await consumer.run({
    autoCommit: false, eachBatchAutoResolve: false,
    eachBatch: async ({ batch, heartbeat, resolveOffset, isRunning, isStale }) => {
      await heartbeat(); // fails where the group rebalances, and the batch comes again
      if (!isRunning() || isStale()) return;
      process.stdout.write(batch.messages.map((m) => `${batch.partition} ${m.offset}\n`).join(''));
      const next = String(BigInt(batch.lastOffset()) + 1n);
      resolveOffset(batch.lastOffset());
      await consumer.commitOffsets([{ topic, partition: batch.partition, offset: next }]);
    },
  });
  await leave;
  await consumer.disconnect();
}

async function positions(bootstrap, topic, groupId, ...times) {
  const kafka = connect(bootstrap), consumer = await join(kafka, topic, groupId), steps = new conform.Steps();
  const seek = (offset) => conform.all.forEach((partition) => consumer.seek({ topic, partition, offset: String(offset) }));
  const first = conform.firstSeen(), paused = conform.whilePaused();
  // Where to read on is said while a record is handled: what was fetched before is then dropped.
  const begun = steps.until(() => { seek(conform.seekTo); return true; });
  await consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => steps.take(partition, message.offset) });
  await begun;
  await steps.until((partition, offset) => {
    if (!first(partition, offset)) return false;
    consumer.pause([{ topic, partitions: [0] }]);
    seek(conform.pausedAt);
    return true;
  });
  await steps.until(paused);
  consumer.resume([{ topic, partitions: [0] }]);
  await steps.until(conform.resumed);
  await consumer.commitOffsets(conform.all.map((partition) => ({ topic, partition, offset: String(conform.committedIn(partition)) })));
  await withAdmin(kafka, async (admin) => {
    for (const at of times) {
      for (const o of await admin.fetchTopicOffsetsByTimestamp(topic, Number(at))) console.log(`time ${at} ${o.partition} ${o.offset}`);
    }
    const ends = await admin.fetchTopicOffsets(topic);
    const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
    for (const p of partitions) {
      const end = ends.find((e) => e.partition === p.partition).high;
      console.log(`lag ${p.partition} ${p.offset} ${end} ${end - p.offset}`);
    }
  });
  await consumer.disconnect();
}

// recreate has one producer write and one consumer read all the while, in a group of one.
async function recreate(bootstrap, topic) {
  const kafka = connect(bootstrap), steps = new conform.Steps();
  await withAdmin(kafka, (admin) => create(admin, topic));
  const producer = await newProducer(kafka, false);
  const write = (records) => producer.send({ topic, acks: -1, messages: records });
  await write(conform.text('old', conform.oldRecords));
  const consumer = await join(kafka, topic, `${topic}-group`);
  const old = steps.until(conform.printed('old', conform.oldRecords));
  await consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => steps.take(partition, message.offset, message.value) });
  await old;
  await withAdmin(kafka, async (admin) => {
    await admin.deleteTopics({ topics: [topic] });
    while (!await create(admin, topic)); // false: it exists yet
  });
  console.log('recreated');
  const fresh = steps.until(conform.printed('new', conform.newRecords));
  await write(conform.text('new', conform.newRecords));
  await fresh;
  await consumer.disconnect();
}

conform.main({ produce, consume, member, positions, recreate });
