// What the conformance programs in JavaScript share: the judge's files and the numbers of the verbs, which the Go package
// conform describes.
const fs = require('node:fs');

// readsAgain: a lost coordinator has the client begin again at what it has committed. What comes again is dropped.
const readsAgain = process.env.READS_AGAIN === 'yes';
const replicas = Number(process.env.REPLICAS ?? 1), addresses = (bootstrap) => bootstrap.split(',');
const partitions = 3, all = [0, 1, 2], seekTo = 100, pausedAt = 150, readOthers = 100, oldRecords = 300, newRecords = 30;
const batchRecords = 500, batchBytes = 900_000;
const committedIn = (partition) => 50 * (partition + 1);
const text = (prefix, n) => Array.from({ length: n }, (_, i) => ({ partition: i % partitions, value: Buffer.from(`${prefix}-${i}`) }));

function* records(name) {
  const b = fs.readFileSync(name);
  let at = 0;
  const blob = () => {
    const n = b.readInt32BE(at); at += 4;
    if (n < 0) return null;
    at += n;
    return b.subarray(at - n, at);
  };
  while (at < b.length) {
    const partition = b.readInt32BE(at), timestamp = b.readBigInt64BE(at + 4); at += 12;
    const key = blob(), value = blob(), headers = [];
    const n = b.readInt32BE(at); at += 4;
    for (let i = 0; i < n; i++) headers.push([blob().toString(), blob()]);
    yield { partition, timestamp, key, value, headers };
  }
}

// batches yields arrays of records that one request may hold.
function* batches(records) {
  let batch = [], bytes = 0;
  for (const r of records) {
    const size = (r.value ? r.value.length : 0) + 200;
    if (batch.length >= batchRecords || bytes + size > batchBytes) { yield batch; batch = []; bytes = 0; }
    batch.push(r); bytes += size;
  }
  if (batch.length) yield batch;
}

// Got is the file of what was read; it finds gaps in the offsets of a partition.
class Got {
  constructor(name, total) { this.fd = fs.openSync(name, 'w'); this.total = total; this.count = 0; this.following = all.map(() => 0); this.parts = []; }
  put(partition, offset, timestamp, key, value, headers) {
    if (readsAgain && Number(offset) < this.following[partition]) return false;
    if (Number(offset) !== this.following[partition]++) throw new Error(`offset ${offset} of partition ${partition}, not ${this.following[partition] - 1}`);
    const head = Buffer.alloc(12);
    head.writeInt32BE(partition); head.writeBigInt64BE(BigInt(timestamp), 4);
    this.parts.push(head);
    this.blob(key); this.blob(value); this.int(headers.length);
    for (const [k, v] of headers) { this.blob(Buffer.from(k)); this.blob(v); }
    if (++this.count % 1000 === 0 || this.count === this.total) { fs.writeSync(this.fd, Buffer.concat(this.parts)); this.parts = []; }
    return this.count === this.total;
  }
  int(n) { const b = Buffer.alloc(4); b.writeInt32BE(n); this.parts.push(b); }
  blob(b) { this.int(b == null ? -1 : b.length); if (b != null) this.parts.push(Buffer.from(b)); }
}

// Steps hands each record to one function after another: a function that returns true is done, and awaited by until.
class Steps {
  constructor() { this.step = null; this.failed = null; }
  until(step) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not done in 120 s: ${step}`)), 120_000);
      this.step = { step, resolve: () => { clearTimeout(timer); resolve(); }, reject };
    });
  }
  take(partition, offset, value) {
    const current = this.step;
    if (!current) return;
    try {
      if (current.step(partition, Number(offset), value)) { this.step = null; current.resolve(); }
    } catch (e) { this.step = null; current.reject(e); }
  }
}

const firstSeen = () => {
  const seen = new Set();
  return (partition, offset) => {
    if (!seen.has(partition)) console.log(`seek ${partition} ${offset}`);
    return seen.add(partition).size === partitions;
  };
};
const whilePaused = () => {
  let paused = 0, others = 0;
  return (partition) => {
    if (partition === 0) paused++; else others++;
    if (others === readOthers) console.log(`paused 0 ${paused}`);
    return others >= readOthers;
  };
};
const resumed = (partition, offset) => {
  if (partition === 0) console.log(`resumed 0 ${offset}`);
  return partition === 0;
};
// printed prints records until there were n whose value begins with prefix.
const printed = (prefix, n) => {
  const seen = new Set();
  return (partition, offset, value) => {
    const text = value.toString();
    if (readsAgain && seen.has(text)) return false;
    seen.add(text);
    console.log(`record ${partition} ${offset} ${text}`);
    if (text.startsWith(prefix)) n--;
    return n === 0;
  };
};

const stdinEnds = () => new Promise((resolve) => { process.stdin.resume(); process.stdin.on('end', resolve); });

const main = (verbs) => {
  const [verb, ...args] = process.argv.slice(2);
  verbs[verb](...args).then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
};

module.exports = { replicas, addresses, partitions, all, seekTo, pausedAt, oldRecords, newRecords, committedIn, text, records, batches, Got, Steps, firstSeen, whilePaused, resumed, printed, stdinEnds, main };
