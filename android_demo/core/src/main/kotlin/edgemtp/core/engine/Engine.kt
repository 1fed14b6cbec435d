package edgemtp.core.engine

import edgemtp.core.plan.Sampler

/** What computes. */
enum class Backend(
    val word: String,
) {
    /** The phone's CPU. */
    CPU("cpu"),

    /** The phone's GPU. */
    GPU("gpu"),

    /** Nothing: a script is played. */
    SCRIPTED("scripted"),
}

/** Whether one engine serves both arms, or each arm has its own. */
enum class Switching(
    val word: String,
) {
    /** One engine an arm: for memory, load time and the runtime's own success rate. */
    ENGINE("engine"),

    /** One engine for both. */
    CONVERSATION("conversation"),
}

/** Number format of activations; null of it leaves the choice to the bundle and the runtime. */
enum class Activation(
    val word: String,
) {
    /** 32-bit floats. */
    FP32("fp32"),

    /** 16-bit floats. */
    FP16("fp16"),
}

/** How an engine is to be started. */
data class EngineSettings(
    val bundlePath: String,
    val backend: Backend,
    val activation: Activation?,
    val maxContextTokens: Int?,
    val speculative: Boolean,
)

/** One turn. */
data class Request(
    val system: String?,
    val prompt: String,
    val maxOutputTokens: Int,
    val sampler: Sampler,
    val speculative: Boolean,
)

/** What the runtime says of a turn that has ended; rates in tokens a second, null where it does not say. */
data class Reply(
    val inputTokens: Int?,
    val outputTokens: Int?,
    val prefillTps: Double?,
    val decodeTps: Double?,
    val cancelled: Boolean,
)

/** The runtime does not start with this bundle and these settings; the message is its own. */
class EngineRefused(
    message: String,
    cause: Throwable? = null,
) : Exception(message, cause)

/** A turn that failed; the message is the runtime's own. */
class GenerationFailed(
    message: String,
    cause: Throwable? = null,
) : Exception(message, cause)

/** A runtime. */
interface EngineFactory {
    /** Its name and version, as the log has them. */
    val name: String
    val version: String

    /** Whether the weights of [bundlePath] were repacked by an earlier start, so that a start is quick. */
    fun cacheIsWarm(bundlePath: String): Boolean

    /** Loads; minutes may pass. [EngineRefused] where it does not start, OutOfMemoryError where memory is short. */
    fun load(settings: EngineSettings): Engine
}

/** A loaded bundle. One call at a time, except for [cancel]. */
interface Engine {
    /**
     * Sends a prompt in a new conversation and returns when the stream has ended. [onChunk] is called for every piece,
     * one draft-and-verify cycle each, from any thread, one at a time. [GenerationFailed] where the runtime fails.
     */
    fun generate(
        request: Request,
        onChunk: (String) -> Unit,
    ): Reply

    /** Asks a running [generate] to return soon, from any thread. */
    fun cancel()

    /** Unloads. Returns what the runtime's own log said during the engine's life. */
    fun close(): List<String>
}
