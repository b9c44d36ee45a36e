//! The conformance program of the crate rdkafka; the Go package conform says what its verbs do.
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PARTITIONS: i32 = 3;
const SEEK_TO: i64 = 100;
const PAUSED_AT: i64 = 150;
const READ_OTHERS: usize = 100;
const OLD_RECORDS: usize = 300;
const NEW_RECORDS: usize = 30;
const REQUEST: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["produce", bootstrap, topic, codec, idempotent, want] => produce(bootstrap, topic, codec, idempotent, want),
        ["consume", bootstrap, topic, count, got] => consume(bootstrap, topic, count.parse()?, got),
        ["member", bootstrap, topic, group, protocol] => member(bootstrap, topic, group, protocol),
        ["positions", bootstrap, topic, group, ref times @ ..] => positions(bootstrap, topic, group, times),
        ["recreate", bootstrap, topic] => recreate(bootstrap, topic),
        _ => Err("usage: VERB BOOTSTRAP TOPIC ...".into()),
    }
}

/// One of the judge's records.
struct Record {
    partition: i32,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    fn text(partition: i32, value: Vec<u8>) -> Record {
        Record { partition, timestamp: 1, key: None, value: Some(value), headers: vec![] }
    }
}

fn texts(prefix: &str, n: usize) -> Vec<Record> {
    (0..n).map(|i| Record::text(i as i32 % PARTITIONS, format!("{prefix}-{i}").into_bytes())).collect()
}

fn read_file(name: &str) -> Result<Vec<Record>> {
    let mut input = BufReader::new(File::open(name)?);
    let mut records = vec![];
    let mut word = [0; 4];
    loop {
        match input.read_exact(&mut word) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(records),
            other => other?,
        }
        let partition = i32::from_be_bytes(word);
        let mut time = [0; 8];
        input.read_exact(&mut time)?;
        let (key, value) = (blob(&mut input)?, blob(&mut input)?);
        let mut headers = vec![];
        for _ in 0..number(&mut input)? {
            headers.push((String::from_utf8(blob(&mut input)?.unwrap_or_default())?, blob(&mut input)?));
        }
        records.push(Record { partition, timestamp: i64::from_be_bytes(time), key, value, headers });
    }
}

fn number(input: &mut impl Read) -> Result<i32> {
    let mut word = [0; 4];
    input.read_exact(&mut word)?;
    Ok(i32::from_be_bytes(word))
}

fn blob(input: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let n = number(input)?;
    if n < 0 {
        return Ok(None);
    }
    let mut b = vec![0; n as usize];
    input.read_exact(&mut b)?;
    Ok(Some(b))
}

fn put(out: &mut impl Write, b: Option<&[u8]>) -> Result<()> {
    out.write_all(&b.map_or(-1, |b| b.len() as i32).to_be_bytes())?;
    Ok(out.write_all(b.unwrap_or_default())?)
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", bootstrap);
    c
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(config(bootstrap).create()?)
}

/// How many replicas each partition of a created topic gets.
fn replicas() -> i32 {
    std::env::var("REPLICAS").map_or(1, |n| n.parse().expect("REPLICAS is a number"))
}

fn create(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<std::result::Result<(), RDKafkaErrorCode>> {
    let wanted = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(replicas())).set("retention.ms", "-1");
    let mut answer = block_on(admin.create_topics(&[wanted], &AdminOptions::new()))?;
    Ok(answer.remove(0).map(|_| ()).map_err(|(_, code)| code))
}

/// What became of the records: those refused for want of the topic, which the client remembers for a while to be gone, are written again.
#[derive(Default)]
struct Deliveries {
    again: Mutex<Vec<Record>>,
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
        let Err((e, m)) = result else { return };
        match e.rdkafka_error_code() {
            Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition) => {
                let value = m.payload().unwrap_or_default().to_vec();
                self.again.lock().unwrap().push(Record::text(m.partition(), value));
            }
            _ => *self.failed.lock().unwrap() = Some(e.clone()),
        }
    }
}

fn new_producer(bootstrap: &str, codec: &str, idempotent: &str) -> Result<BaseProducer<Deliveries>> {
    Ok(config(bootstrap)
        .set("compression.type", codec)
        .set("acks", "all")
        .set("enable.idempotence", idempotent)
        .set("message.max.bytes", "1048588")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "200000")
        .create_with_context(Deliveries::default())?)
}

fn write(producer: &BaseProducer<Deliveries>, topic: &str, mut records: Vec<Record>) -> Result<()> {
    while !records.is_empty() {
        for r in &records {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(r.partition).timestamp(r.timestamp);
            record.key = r.key.as_deref();
            record.payload = r.value.as_deref();
            if !r.headers.is_empty() {
                let headers = OwnedHeaders::new();
                let all = r.headers.iter().fold(headers, |h, (k, v)| h.insert(Header { key: k, value: v.as_deref() }));
                record = record.headers(all);
            }
            while let Err((e, back)) = producer.send(record) {
                if e.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(e.into());
                }
                producer.poll(Duration::from_millis(100));
                record = back;
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE)?;
        let outcome = producer.context();
        if let Some(e) = outcome.failed.lock().unwrap().take() {
            return Err(e.into());
        }
        records = std::mem::take(&mut *outcome.again.lock().unwrap());
    }
    Ok(())
}

fn produce(bootstrap: &str, topic: &str, codec: &str, idempotent: &str, want: &str) -> Result<()> {
    create(&admin(bootstrap)?, topic)??;
    write(&new_producer(bootstrap, codec, idempotent)?, topic, read_file(want)?)
}

/// What a member has read and not committed; the client asks for it when partitions are taken away.
#[derive(Default)]
struct Progress {
    topic: String,
    following: Mutex<HashMap<i32, i64>>,
}

impl Progress {
    fn commit(&self, consumer: &BaseConsumer<Progress>) -> std::result::Result<(), KafkaError> {
        let mut following = self.following.lock().unwrap();
        if following.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::new();
        for (p, o) in following.drain() {
            offsets.add_partition_offset(&self.topic, p, Offset::Offset(o))?;
        }
        consumer.commit(&offsets, CommitMode::Sync)
    }
}

impl ClientContext for Progress {}

impl ConsumerContext for Progress {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(_) = rebalance {
            if let Err(e) = self.commit(consumer) {
                eprintln!("member: {e}");
            }
        }
    }
}

fn new_consumer(bootstrap: &str, topic: &str, group: &str, protocol: &str) -> Result<BaseConsumer<Progress>> {
    let progress = Progress { topic: topic.into(), ..Progress::default() };
    let mut c = config(bootstrap);
    c.set("group.id", group)
        .set("group.protocol", protocol)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true");
    if protocol == "classic" {
        c.set("session.timeout.ms", "30000").set("heartbeat.interval.ms", "500");
    }
    Ok(c.create_with_context(progress)?)
}

fn every_partition(topic: &str, at: impl Fn(i32) -> Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for p in 0..PARTITIONS {
        list.add_partition_offset(topic, p, at(p))?;
    }
    Ok(list)
}

/// Polls until done says so; what the client will get over is printed.
fn each(consumer: &BaseConsumer<Progress>, mut done: impl FnMut(&BorrowedMessage<'_>) -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(m)) if done(&m)? => return Ok(()),
            Some(Err(e)) => eprintln!("consumer: {e}"),
            _ => {}
        }
    }
    Err(format!("not read within {PATIENCE:?}").into())
}

fn consume(bootstrap: &str, topic: &str, count: usize, got: &str) -> Result<()> {
    let consumer = new_consumer(bootstrap, topic, "unused", "classic")?;
    consumer.assign(&every_partition(topic, |_| Offset::Beginning)?)?;
    let mut out = BufWriter::new(File::create(got)?);
    let (mut left, mut following) = (count, [0; PARTITIONS as usize]);
    each(&consumer, |m| {
        let next = &mut following[m.partition() as usize];
        if m.offset() != *next {
            return Err(format!("partition {}: offset {} instead of {next}", m.partition(), m.offset()).into());
        }
        *next += 1;
        out.write_all(&m.partition().to_be_bytes())?;
        out.write_all(&m.timestamp().to_millis().unwrap_or(-1).to_be_bytes())?;
        put(&mut out, m.key())?;
        put(&mut out, m.payload())?;
        let n = m.headers().map_or(0, Headers::count);
        out.write_all(&(n as i32).to_be_bytes())?;
        for h in m.headers().into_iter().flat_map(Headers::iter) {
            put(&mut out, Some(h.key.as_bytes()))?;
            put(&mut out, h.value)?;
        }
        left -= 1;
        Ok(left == 0)
    })?;
    Ok(out.flush()?)
}

fn member(bootstrap: &str, topic: &str, group: &str, protocol: &str) -> Result<()> {
    let leave = Arc::new(AtomicBool::new(false));
    let ended = leave.clone();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        ended.store(true, Ordering::SeqCst);
    });
    let consumer = new_consumer(bootstrap, topic, group, protocol)?;
    consumer.subscribe(&[topic])?;
    let mut read = 0;
    while !leave.load(Ordering::SeqCst) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(m)) => {
                println!("{} {}", m.partition(), m.offset());
                consumer.context().following.lock().unwrap().insert(m.partition(), m.offset() + 1);
                read += 1;
                if read % 100 != 0 {
                    continue;
                }
            }
            Some(Err(e)) => eprintln!("member: {e}"),
            None => {}
        }
        consumer.context().commit(&consumer)?;
    }
    consumer.context().commit(&consumer)?;
    Ok(())
}

fn positions(bootstrap: &str, topic: &str, group: &str, times: &[&str]) -> Result<()> {
    let consumer = new_consumer(bootstrap, topic, group, "classic")?;
    consumer.assign(&every_partition(topic, |_| Offset::Beginning)?)?;
    let seek = |offset| (0..PARTITIONS).try_for_each(|p| consumer.seek(topic, p, Offset::Offset(offset), REQUEST));
    let mut started = HashSet::new(); // the client seeks only what it reads already
    each(&consumer, |m| {
        started.insert(m.partition());
        Ok(started.len() == PARTITIONS as usize)
    })?;
    seek(SEEK_TO)?;
    let mut seen = HashSet::new();
    each(&consumer, |m| {
        if seen.insert(m.partition()) {
            println!("seek {} {}", m.partition(), m.offset());
        }
        Ok(seen.len() == PARTITIONS as usize)
    })?;
    let mut zero = TopicPartitionList::new();
    zero.add_partition(topic, 0);
    consumer.pause(&zero)?;
    seek(PAUSED_AT)?;
    let (mut paused, mut others) = (0, 0);
    each(&consumer, |m| {
        *(if m.partition() == 0 { &mut paused } else { &mut others }) += 1;
        Ok(others >= READ_OTHERS)
    })?;
    println!("paused 0 {paused}");
    consumer.resume(&zero)?;
    each(&consumer, |m| {
        if m.partition() == 0 {
            println!("resumed 0 {}", m.offset());
        }
        Ok(m.partition() == 0)
    })?;
    for at in times {
        let time = at.parse()?;
        for e in consumer.offsets_for_times(every_partition(topic, |_| Offset::Offset(time))?, REQUEST)?.elements() {
            println!("time {at} {} {}", e.partition(), e.offset().to_raw().unwrap_or(-1));
        }
    }
    consumer.commit(&every_partition(topic, |p| Offset::Offset(50 * (i64::from(p) + 1)))?, CommitMode::Sync)?;
    for e in consumer.committed_offsets(every_partition(topic, |_| Offset::Invalid)?, REQUEST)?.elements() {
        let (_, end) = consumer.fetch_watermarks(topic, e.partition(), REQUEST)?;
        let at = e.offset().to_raw().unwrap_or(-1);
        println!("lag {} {at} {end} {}", e.partition(), end - at);
    }
    Ok(())
}

/// One producer writes and one consumer reads all the while, by assignment.
fn recreate(bootstrap: &str, topic: &str) -> Result<()> {
    let (admin, producer, consumer) = (admin(bootstrap)?, new_producer(bootstrap, "none", "true")?, new_consumer(bootstrap, topic, "unused", "classic")?);
    create(&admin, topic)??;
    write(&producer, topic, texts("old", OLD_RECORDS))?;
    consumer.assign(&every_partition(topic, |_| Offset::Beginning)?)?;
    print_records(&consumer, "old", OLD_RECORDS)?;
    block_on(admin.delete_topics(&[topic], &AdminOptions::new()))?.remove(0).map_err(|(_, code)| code)?;
    loop {
        match create(&admin, topic)? {
            Err(RDKafkaErrorCode::TopicAlreadyExists) => continue,
            other => break other?,
        }
    }
    println!("recreated");
    write(&producer, topic, texts("new", NEW_RECORDS))?;
    print_records(&consumer, "new", NEW_RECORDS)
}

/// Prints records until there were n whose value begins with prefix.
fn print_records(consumer: &BaseConsumer<Progress>, prefix: &str, n: usize) -> Result<()> {
    let mut left = n;
    each(consumer, |m| {
        let value = String::from_utf8(m.payload().unwrap_or_default().to_vec())?;
        println!("record {} {} {value}", m.partition(), m.offset());
        left -= usize::from(value.starts_with(prefix));
        Ok(left == 0)
    })
}
