package edgemtp.demo

import android.content.Context
import android.os.OutcomeReceiver
import android.os.PowerMonitor
import android.os.PowerMonitorReadings
import android.os.health.SystemHealthManager
import edgemtp.core.device.Rails
import java.util.concurrent.Executor
import java.util.function.Consumer

private const val NS_PER_MS = 1_000_000L

/**
 * The phone's power monitors, Android 15 and newer. Answers come later, on another thread: a reading is the newest that
 * has come. Android caches them for up to 30 s and blurs them a little for apps, so only long blocks mean anything.
 */
internal class PowerRails(
    context: Context,
) : OutcomeReceiver<PowerMonitorReadings, RuntimeException> {
    private val health = context.getSystemService(SystemHealthManager::class.java)
    private val direct = Executor { it.run() }

    @Volatile private var monitors: List<PowerMonitor> = emptyList()

    @Volatile private var newest: Rails? = null

    init {
        health?.getSupportedPowerMonitors(direct, Consumer { monitors = it })
    }

    /** The newest answer, null before the first one; asks for the next. */
    fun read(): Rails? {
        val asked = monitors
        if (asked.isNotEmpty()) health?.getPowerMonitorReadings(asked, direct, this)
        return newest
    }

    override fun onResult(result: PowerMonitorReadings) {
        val known = monitors.filter { result.getConsumedEnergy(it) != PowerMonitorReadings.ENERGY_UNAVAILABLE.toLong() }
        val takenMs = known.maxOfOrNull { result.getTimestampMillis(it) } ?: return
        newest = Rails(known.associate { it.name to result.getConsumedEnergy(it) }, takenMs * NS_PER_MS)
    }

    override fun onError(error: RuntimeException) {
        newest = null
    }
}
