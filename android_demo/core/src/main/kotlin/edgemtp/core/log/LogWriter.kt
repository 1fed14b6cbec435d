package edgemtp.core.log

import edgemtp.core.device.Time
import edgemtp.core.json.JsonObject
import edgemtp.core.json.jsonOf
import edgemtp.core.json.writeJson

/** Version of the log that is written. */
const val LOG_VERSION: Int = 1

/** Kinds of records. */
enum class Kind(
    val word: String,
    val durable: Boolean,
) {
    /** The first of a run. */
    RUN("run", true),

    /** Sensors, once a second. */
    SAMPLE("sample", false),

    /** Something happened. */
    EVENT("event", false),

    /** A generation has ended. */
    TRIAL("trial", true),

    /** An engine was unloaded. */
    ENGINE("engine", true),

    /** The last of a run. */
    END("end", true),
}

/** Writes the records of one run, each with its place and time. May be called from several threads. */
class LogWriter(
    private val sink: LineSink,
    private val run: String,
    private val time: Time,
) : AutoCloseable {
    private val startNs = time.nowNs()
    private var sequence = 0L
    private var lastMs = 0L

    /** Milliseconds of the run at [ns] on the run's clock. */
    fun runMs(ns: Long): Long = (ns - startNs) / 1_000_000

    /** Appends a record of [kind] with [fields]; an IOException means that the storage did not take it. */
    @Synchronized
    fun write(
        kind: Kind,
        fields: JsonObject,
    ) {
        lastMs = maxOf(lastMs, runMs(time.nowNs()))
        val head = jsonOf("v" to LOG_VERSION, "kind" to kind.word, "run" to run, "seq" to sequence, "t_ms" to lastMs)
        sink.append(writeJson(JsonObject(head.fields + fields.fields)), kind.durable)
        sequence++
    }

    /** Appends an event. */
    fun event(
        name: String,
        value: Any? = null,
    ): Unit = write(Kind.EVENT, jsonOf("name" to name, "value" to value))

    override fun close(): Unit = sink.close()
}
