package edgemtp.core.run

import edgemtp.core.device.toMs
import edgemtp.core.json.JsonObject
import edgemtp.core.json.jsonOf
import edgemtp.core.plan.sha256

/** Times one generation by its pieces; [clock] gives nanoseconds, [startNs] is when the prompt was sent. */
class TrialMeter(
    private val clock: () -> Long,
    private val startNs: Long,
) {
    private val arrivalsNs = mutableListOf<Long>()
    private val text = StringBuilder()

    /** Notes a piece; true for the first one. */
    @Synchronized
    fun chunk(piece: String): Boolean {
        arrivalsNs += clock()
        text.append(piece)
        return arrivalsNs.size == 1
    }

    /** Pieces so far. */
    val chunks: Int @Synchronized get() = arrivalsNs.size

    /** What was timed; the stream's end is now. */
    @Synchronized
    fun finish(): Timing {
        val gaps = arrivalsNs.zipWithNext { earlier, later -> toMs(later - earlier) }.sorted()
        return Timing(
            ttftMs = arrivalsNs.firstOrNull()?.let { toMs(it - startNs) },
            decodeMs = if (arrivalsNs.isEmpty()) null else toMs(arrivalsNs.last() - arrivalsNs.first()),
            wallMs = toMs(clock() - startNs),
            chunks = arrivalsNs.size,
            gapsMs = gaps,
            text = text.toString(),
        )
    }
}

/** One generation as the app's clock saw it. */
data class Timing(
    val ttftMs: Double?,
    val decodeMs: Double?,
    val wallMs: Double,
    val chunks: Int,
    /** Time between chunks, ascending. */
    val gapsMs: List<Double>,
    val text: String,
) {
    /** sha256 of [text], hexadecimal. */
    val sha256: String get() = sha256(text)

    /** The log's `itl_ms`; null where there were fewer than two chunks. */
    fun gaps(): JsonObject? =
        if (gapsMs.isEmpty()) {
            null
        } else {
            jsonOf("p50" to quantile(gapsMs, 0.5), "p95" to quantile(gapsMs, 0.95), "max" to gapsMs.last())
        }
}
