// The conformance program of @confluentinc/kafka-javascript, by its interface like KafkaJS's; the Go package conform says
// what its verbs do. That interface reads in groups only.
const { KafkaJS: { Kafka, CompressionTypes, ErrorCodes, logLevel } } = require('@confluentinc/kafka-javascript');
const conform = require('./conform');

const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.SNAPPY, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD };

const quiet = { setLogLevel() {}, namespace() { return quiet; }, debug() {}, info() {}, warn: console.error, error: console.error };
const connect = (bootstrap) => new Kafka({ kafkaJS: { brokers: conform.addresses(bootstrap), logLevel: logLevel.ERROR, logger: quiet } });

async function withAdmin(kafka, use) {
  const admin = kafka.admin();
  await admin.connect();
  try { return await use(admin); } finally { await admin.disconnect(); }
}

const create = (admin, topic) => admin.createTopics({ topics: [{ topic, numPartitions: conform.partitions, replicationFactor: conform.replicas, configEntries: [{ name: 'retention.ms', value: '-1' }] }] });

async function newProducer(kafka, codec, idempotent) {
  const producer = kafka.producer({ kafkaJS: { acks: -1, idempotent, compression: codecs[codec] }, 'message.max.bytes': 1048588, 'linger.ms': 5 });
  await producer.connect();
  return producer;
}

// headersOf turns pairs into an object, in which a name with several values has a list.
function headersOf(pairs) {
  const headers = {};
  for (const [k, v] of pairs) headers[k] = k in headers ? [].concat(headers[k], [v]) : v;
  return headers;
}
const pairsOf = (headers) => Object.entries(headers ?? {}).flatMap(([k, v]) => Array.isArray(v) ? v.map((one) => [k, one]) : [[k, v]]);

async function produce(bootstrap, topic, codec, idempotent, want) {
  const kafka = connect(bootstrap);
  await withAdmin(kafka, (admin) => create(admin, topic));
  const producer = await newProducer(kafka, codec, idempotent === 'true');
  for (const batch of conform.batches(conform.records(want))) {
    await producer.send({ topic, messages: batch.map((r) => ({ ...r, timestamp: String(r.timestamp), headers: headersOf(r.headers) })) });
  }
  await producer.disconnect();
}

async function join(kafka, topic, groupId, protocol = 'classic') {
  const timeouts = protocol === 'classic' ? { sessionTimeout: 30000, heartbeatInterval: 500 } : {};
  const consumer = kafka.consumer({
    kafkaJS: { groupId, fromBeginning: true, autoCommit: false, ...timeouts }, 'check.crcs': true, 'group.protocol': protocol,
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic] });
  return consumer;
}

async function consume(bootstrap, topic, count, got) {
  const consumer = await join(connect(bootstrap), topic, `${topic}-reader`), out = new conform.Got(got, Number(count));
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${out.count} of ${count} records read`)), 120_000);
    consumer.run({
      eachBatch: async ({ batch }) => {
        try {
          for (const m of batch.messages) if (out.put(batch.partition, m.offset, m.timestamp, m.key, m.value, pairsOf(m.headers))) resolve();
        } catch (e) { reject(e); }
      },
    });
  });
  await consumer.disconnect();
}

async function member(bootstrap, topic, groupId, protocol) {
  const leave = conform.stdinEnds(), consumer = await join(connect(bootstrap), topic, groupId, protocol);
  await consumer.run({
    eachBatch: async ({ batch, isRunning, isStale }) => {
      if (!isRunning() || isStale()) return;
      process.stdout.write(batch.messages.map((m) => `${batch.partition} ${m.offset}\n`).join(''));
      const last = batch.messages[batch.messages.length - 1];
      await consumer.commitOffsets([{ topic, partition: batch.partition, offset: String(BigInt(last.offset) + 1n) }]);
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
  await consumer.run({ eachMessage: async ({ partition, message }) => steps.take(partition, message.offset) });
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

const gone = [ErrorCodes.ERR_UNKNOWN_TOPIC_OR_PART, ErrorCodes.ERR__UNKNOWN_TOPIC, ErrorCodes.ERR__UNKNOWN_PARTITION];

// write writes what is refused for want of the topic again: the client remembers for a while that it was gone.
async function write(producer, topic, records) {
  for (const r of records) {
    for (let done = false; !done;) {
      try {
        await producer.send({ topic, messages: [{ ...r }] });
        done = true;
      } catch (e) { if (!gone.includes(e.code)) throw e; }
    }
  }
}

// recreate has one producer write and one consumer read all the while, in a group of one.
async function recreate(bootstrap, topic) {
  const kafka = connect(bootstrap), steps = new conform.Steps();
  await withAdmin(kafka, (admin) => create(admin, topic));
  const producer = await newProducer(kafka, 'none', true);
  await write(producer, topic, conform.text('old', conform.oldRecords));
  const consumer = await join(kafka, topic, `${topic}-group`);
  const old = steps.until(conform.printed('old', conform.oldRecords));
  await consumer.run({ eachMessage: async ({ partition, message }) => steps.take(partition, message.offset, message.value) });
  await old;
  await withAdmin(kafka, async (admin) => {
    await admin.deleteTopics({ topics: [topic] });
    while (!await create(admin, topic)); // false: it exists yet
  });
  console.log("recreated");
  const fresh = steps.until(conform.printed('new', conform.newRecords));
  await write(producer, topic, conform.text('new', conform.newRecords));
  await fresh;
  await consumer.disconnect();
}

conform.main({ produce, consume, member, positions, recreate });
