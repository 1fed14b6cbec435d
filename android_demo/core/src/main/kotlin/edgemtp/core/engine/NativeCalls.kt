package edgemtp.core.engine

import java.util.concurrent.CancellationException
import java.util.concurrent.CountDownLatch

/** What [start] returns; whatever it throws, a missing native library too, becomes [EngineRefused] with its words. */
fun <T> refusing(start: () -> T): T =
    try {
        start()
    } catch (error: EngineRefused) {
        throw error
    } catch (error: Exception) {
        throw EngineRefused(words(error), error)
    } catch (error: LinkageError) {
        throw EngineRefused(words(error), error)
    }

/** What [turn] returns; whatever it throws becomes [GenerationFailed] with its words. */
fun <T> failing(turn: () -> T): T =
    try {
        turn()
    } catch (error: GenerationFailed) {
        throw error
    } catch (error: Exception) {
        throw GenerationFailed(words(error), error)
    }

private fun words(error: Throwable): String = error.message?.takeIf { it.isNotBlank() } ?: error.javaClass.simpleName

/** Lets one thread wait for a stream that ends on another. */
class StreamEnd {
    private val ended = CountDownLatch(1)

    @Volatile private var failure: Throwable? = null

    /** The stream is over; [error] says why, null where it came to its end. */
    fun over(error: Throwable?) {
        failure = error
        ended.countDown()
    }

    /**
     * Returns when the stream is over; true where it was cancelled, which LiteRT-LM tells as an error `CANCELLED…`.
     * [GenerationFailed] where it failed.
     */
    fun await(): Boolean {
        ended.await()
        val error = failure ?: return false
        if (error is CancellationException || words(error).contains("CANCELLED")) return true
        throw GenerationFailed(words(error), error)
    }
}
