package edgemtp.core.device

/** The clock that everything is timed by: it goes on through sleep and never falls. */
interface Time {
    /** Nanoseconds since some fixed moment. */
    fun nowNs(): Long

    /** Returns after [ms] milliseconds. */
    fun sleepMs(ms: Long)

    /** Calls [action] every [periodMs] milliseconds until the handle is closed; never two calls at once. */
    fun every(
        periodMs: Long,
        action: () -> Unit,
    ): AutoCloseable
}

/** [ns] nanoseconds in milliseconds. */
fun toMs(ns: Long): Double = ns / 1e6

/** Real time: [clock] gives nanoseconds, threads do the rest. */
class ThreadTime(
    private val clock: () -> Long,
) : Time {
    override fun nowNs(): Long = clock()

    override fun sleepMs(ms: Long): Unit = Thread.sleep(ms)

    override fun every(
        periodMs: Long,
        action: () -> Unit,
    ): AutoCloseable {
        val executor =
            java.util.concurrent.Executors
                .newSingleThreadScheduledExecutor { Thread(it, "edge-mtp-sampler") }
        executor.scheduleAtFixedRate(action, periodMs, periodMs, java.util.concurrent.TimeUnit.MILLISECONDS)
        return AutoCloseable {
            executor.shutdown()
            executor.awaitTermination(5, java.util.concurrent.TimeUnit.SECONDS)
        }
    }
}
