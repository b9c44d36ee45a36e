// The conformance program of @platformatic/kafka; the Go package conform says what its verbs do. It reads in groups only.
const { Admin, Consumer, Producer, ProduceAcks } = require('@platformatic/kafka');
const conform = require('./conform');

const base = (bootstrap) => ({ clientId: 'conformance', bootstrapBrokers: conform.addresses(bootstrap), autocreateTopics: false });

async function withAdmin(bootstrap, use) {
  const admin = new Admin(base(bootstrap));
  try { return await use(admin); } finally { await admin.close(); }
}

async function create(admin, topic) {
  await admin.createTopics({ topics: [topic], partitions: conform.partitions, replicas: conform.replicas, configs: [{ name: 'retention.ms', value: '-1' }] });
  while (!(await admin.listTopics()).includes(topic)); // a broker may take a moment until all of its parts know it
}

const newProducer = (bootstrap, codec, idempotent) => new Producer({
  ...base(bootstrap), acks: ProduceAcks.ALL, idempotent, ...(codec !== 'none' && { compression: codec }),
});

// headersOf makes a map in which one name may come twice: its keys are buffers.
const headersOf = (pairs) => new Map(pairs.map(([k, v]) => [Buffer.from(k), v]));

async function produce(bootstrap, topic, codec, idempotent, want) {
  await withAdmin(bootstrap, (admin) => create(admin, topic));
  const producer = newProducer(bootstrap, codec, idempotent === 'true');
  for (const batch of conform.batches(conform.records(want))) {
    const messages = batch.map(({ partition, timestamp, key, value, headers }) => ({ topic, partition, timestamp, key, value, headers: headersOf(headers) }));
    await producer.send({ messages });
  }
  await producer.close();
}

function newConsumer(bootstrap, groupId, protocol = 'classic') {
  const consumer = new Consumer({
    ...base(bootstrap), groupId, groupProtocol: protocol, autocommit: false, maxWaitTime: 200,
    ...(protocol === 'classic' && { sessionTimeout: 30_000, heartbeatInterval: 500 }),
  });
  consumer.on('error', (e) => console.error('consumer:', e.message)); // one that is closed while it joins says so
  return consumer;
}
const fromEarliest = (consumer, topic) => consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest' });

async function consume(bootstrap, topic, count, got) {
  const consumer = newConsumer(bootstrap, `${topic}-reader`), out = new conform.Got(got, Number(count));
  for await (const m of await fromEarliest(consumer, topic)) {
    if (out.put(m.partition, m.offset, m.timestamp, m.key, m.value, m.headerEntries)) break;
  }
  await consumer.close(true);
}

// member prints what it reads, and commits it where the client has nothing more at hand. What a fetch brings while the group
// rebalances this client delivers as if nothing were: such records are read again by who has the partition then.
async function member(bootstrap, topic, groupId, protocol) {
  const consumer = newConsumer(bootstrap, groupId, protocol);
  const stream = await fromEarliest(consumer, topic);
  let leaving = false;
  conform.stdinEnds().then(() => { leaving = true; return stream.close(); });
  const last = new Map();
  let lines = '';
  for await (const m of stream) {
    lines += `${m.partition} ${m.offset}\n`;
    last.set(m.partition, m);
    if (stream.readableLength > 0 && lines.length < 10_000) continue;
    process.stdout.write(lines);
    lines = '';
    try {
      await consumer.commit({ offsets: [...last.values()].map((b) => ({ topic, partition: b.partition, offset: b.offset + 1n, leaderEpoch: b.leaderEpoch })) });
    } catch (e) { console.error('member:', e.message); }
    last.clear();
    if (leaving) break;
  }
  process.stdout.write(lines);
  await consumer.close(true);
}

async function positions(bootstrap, topic, groupId, ...times) {
  const consumer = newConsumer(bootstrap, groupId), first = conform.firstSeen();
  const offsets = conform.all.map((partition) => ({ topic, partition, offset: BigInt(conform.seekTo) }));
  const stream = await consumer.consume({ topics: [topic], mode: 'manual', offsets });
  for await (const m of stream) if (first(m.partition, m.offset)) break;
  console.log('- pause');
  for (const at of times) {
    const found = await consumer.listOffsets({ topics: [topic], timestamp: BigInt(at) });
    found.get(topic).forEach((offset, partition) => console.log(`time ${at} ${partition} ${offset}`));
  }
  await consumer.commit({ offsets: conform.all.map((partition) => ({ topic, partition, offset: BigInt(conform.committedIn(partition)), leaderEpoch: 0 })) });
  const committed = (await consumer.listCommittedOffsets({ topics: [{ topic, partitions: conform.all }] })).get(topic);
  const ends = (await consumer.listOffsets({ topics: [topic], timestamp: -1n })).get(topic);
  conform.all.forEach((p) => console.log(`lag ${p} ${committed[p]} ${ends[p]} ${ends[p] - committed[p]}`));
  await consumer.close(true);
}

// recreate has one producer write all the while, and one consumer read until it is told that the topic is gone.
async function recreate(bootstrap, topic) {
  const producer = newProducer(bootstrap, 'none', true), admin = new Admin(base(bootstrap));
  await create(admin, topic);
  const write = (records) => producer.send({ messages: records.map((r) => ({ topic, ...r })) });
  await write(conform.text('old', conform.oldRecords));
  const consumer = newConsumer(bootstrap, `${topic}-group`);
  const stream = await fromEarliest(consumer, topic);
  const next = stream[Symbol.asyncIterator]();
  await print(next, 'old', conform.oldRecords);
  await admin.deleteTopics({ topics: [topic] });
  for (let there = false; !there;) {
    try {
      await create(admin, topic);
      there = true;
    } catch (e) { if (!e.findBy?.('apiId', 'TOPIC_ALREADY_EXISTS')) throw e; }
  }
  console.log('recreated');
  await write(conform.text('new', conform.newRecords));
  try {
    await print(next, 'new', conform.newRecords);
  } catch (e) {
    console.error('reader:', e.message);
    console.log('reopened');
    const another = newConsumer(bootstrap, `${topic}-another`);
    await print((await fromEarliest(another, topic))[Symbol.asyncIterator](), 'new', conform.newRecords);
    await another.close(true);
  }
}

async function print(next, prefix, n) {
  const done = conform.printed(prefix, n);
  for (;;) {
    const { value: m, done: ended } = await next.next();
    if (ended) throw new Error('the stream has ended');
    if (done(m.partition, m.offset, m.value)) return;
  }
}

conform.main({ produce, consume, member, positions, recreate });
