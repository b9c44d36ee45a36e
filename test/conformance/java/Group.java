import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/**
 * Writes a topic, and has members of groups read it, each record once, while others come and go. Group BOOTSTRAP TOPIC RECORDS KIND...
 * KIND: classic, consumer; pattern (consumer, by regular expression); upgrade (a group with a member of each protocol). A member is static.
 */
public class Group {
    static String bootstrap, topic, group;
    static Set<String> seen;
    static long deadline;

    static KafkaConsumer<byte[], byte[]> member(String protocol, boolean pattern, String instance) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("group.id", group);
        p.put("group.protocol", protocol);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("max.poll.records", "500");
        if (instance != null) p.put("group.instance.id", instance);
        KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        ConsumerRebalanceListener commits = new ConsumerRebalanceListener() {
            public void onPartitionsRevoked(Collection<TopicPartition> gone) { c.commitSync(); }
            public void onPartitionsAssigned(Collection<TopicPartition> come) {}
        };
        if (pattern) c.subscribe(new SubscriptionPattern(topic.substring(0, topic.length() - 1) + "[" + topic.substring(topic.length() - 1) + "]"), commits);
        else c.subscribe(List.of(topic), commits);
        return c;
    }

    static void take(KafkaConsumer<byte[], byte[]> c) {
        if (System.currentTimeMillis() > deadline) throw new IllegalStateException("too long: " + seen.size() + " records, " + c.assignment());
        ConsumerRecords<byte[], byte[]> records = c.poll(Duration.ofMillis(50));
        for (ConsumerRecord<byte[], byte[]> r : records)
            if (!seen.add(r.partition() + "-" + r.offset())) throw new IllegalStateException(r.partition() + "-" + r.offset() + " was read twice");
        if (!records.isEmpty()) c.commitSync();
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        topic = args[1];
        int total = Integer.parseInt(args[2]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", (Object) bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, 3, Short.parseShort(System.getenv().getOrDefault("REPLICAS", "1"))))).all().get();
            while (!admin.listTopics().names().get().contains(topic)) Thread.sleep(20);
            write(total);
            for (String kind : Arrays.copyOfRange(args, 3, args.length)) read(total, kind);
            admin.deleteTopics(List.of(topic)).all().get();
        }
    }

    static void write(int total) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "acks", "all", "linger.ms", 5);
        try (KafkaProducer<byte[], byte[]> p = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            Future<RecordMetadata> last = null;
            for (int i = 0; i < total; i++) last = p.send(new ProducerRecord<>(topic, i % 3, null, ("value " + i).getBytes()));
            p.flush();
            last.get();
        }
    }

    static void read(int total, String kind) throws Exception {
        String second = kind.equals("classic") ? "classic" : "consumer";
        seen = new HashSet<>();
        deadline = System.currentTimeMillis() + 120_000;
        String first = kind.equals("upgrade") ? "classic" : second;
        group = topic + "-" + kind;
        KafkaConsumer<byte[], byte[]> a = member(first, kind.equals("pattern"), null);
        while (a.assignment().isEmpty()) take(a);
        KafkaConsumer<byte[], byte[]> b = member(second, kind.equals("pattern"), "instance");
        while (a.assignment().isEmpty() || b.assignment().isEmpty() || a.assignment().size() + b.assignment().size() != 3) { take(a); take(b); }
        b.close(); // a static member: its partitions stay its own
        KafkaConsumer<byte[], byte[]> c = member(second, kind.equals("pattern"), "instance");
        while (c.assignment().isEmpty()) { take(a); take(c); }
        while (seen.size() < total / 2) { take(a); take(c); }
        a.close();
        while (seen.size() < total || c.assignment().size() != 3) take(c);
        c.close();
        System.out.println(kind + ": " + seen.size() + " records");
    }
}
