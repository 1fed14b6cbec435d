package edgemtp.core.simulated

import edgemtp.core.device.Time

/** Time that passes only when something sleeps; timers and appointments fire in between, in order, on one thread. */
class SimulatedTime : Time {
    private class Appointment(
        var atNs: Long,
        val periodNs: Long?,
        val action: () -> Unit,
    )

    private val appointments = mutableListOf<Appointment>()
    private var now = 1_000_000_000L

    override fun nowNs(): Long = now

    override fun sleepMs(ms: Long) {
        val endNs = now + ms * 1_000_000
        while (true) {
            val next = appointments.filter { it.atNs <= endNs }.minByOrNull { it.atNs } ?: break
            now = maxOf(now, next.atNs)
            if (next.periodNs == null) appointments.remove(next) else next.atNs += next.periodNs
            next.action()
        }
        now = maxOf(now, endNs)
    }

    override fun every(
        periodMs: Long,
        action: () -> Unit,
    ): AutoCloseable {
        val timer = Appointment(now + periodMs * 1_000_000, periodMs * 1_000_000, action)
        appointments += timer
        return AutoCloseable { appointments.remove(timer) }
    }

    /** Calls [action] once, [seconds] from now. */
    fun inSeconds(
        seconds: Double,
        action: () -> Unit,
    ) {
        appointments += Appointment(now + (seconds * 1e9).toLong(), null, action)
    }
}
