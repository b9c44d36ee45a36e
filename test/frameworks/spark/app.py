"""Writes each event of a topic on with its amount doubled, and the count and sum of every key; goes on from its checkpoints."""

import sys

from pyspark.sql import SparkSession, functions as f

bootstrap, checkpoints, per_batch, trigger = sys.argv[1:]
spark = SparkSession.builder.appName("frameworks").getOrCreate()

fields = f.split(f.col("value").cast("string"), " ")
events = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", bootstrap)
    .option("subscribe", "events")
    .option("startingOffsets", "earliest")
    .option("maxOffsetsPerTrigger", per_batch)
    .load()
    .select(f.col("key").cast("string"), fields[0].cast("long").alias("id"), fields[1].cast("long").alias("amount"))
)
doubled = events.select("key", f.concat_ws(" ", "id", f.col("amount") * 2).alias("value"))
sums = events.groupBy("key").agg(f.count("*").alias("n"), f.sum("amount").alias("total"))
sums = sums.select("key", f.concat_ws(" ", "n", "total").alias("value"))


def start(topic, rows, mode):
    writer = (
        rows.writeStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap)
        .option("topic", topic)
        .option("checkpointLocation", f"{checkpoints}/{topic}")
        .outputMode(mode)
    )
    if trigger == "available":
        writer = writer.trigger(availableNow=True)
    return writer.start()


queries = [start("doubled", doubled, "append"), start("sums", sums, "update")]
if trigger == "continuous":
    spark.streams.awaitAnyTermination()
for query in queries:
    query.awaitTermination()
