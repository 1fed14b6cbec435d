package edgemtp.demo

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.Debug
import android.os.PowerManager
import android.os.SystemClock
import edgemtp.core.device.DeviceProbe
import edgemtp.core.device.Reading

private const val BYTES_PER_KIB = 1024L

/** Below this the battery would be empty: some gauges say so where they have no answer. */
private const val MIN_VOLTAGE_MV = 1000

/** Reads Android's sensors. Those that the phone lacks come back as null. */
class PhoneProbe(
    private val context: Context,
) : DeviceProbe {
    private val battery = context.getSystemService(Context.BATTERY_SERVICE) as BatteryManager
    private val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager
    private val rails = if (Build.VERSION.SDK_INT >= 35) PowerRails(context) else null
    private var footprintBytes: Long? = null

    @Volatile private var intent: Intent? = null

    @Volatile private var intentMs = 0L

    init {
        // Sticky: the newest state comes at once, later ones as Android sends them.
        val receiver =
            object : android.content.BroadcastReceiver() {
                override fun onReceive(
                    context: Context,
                    news: Intent,
                ) = keep(news)
            }
        context.registerReceiver(receiver, IntentFilter(Intent.ACTION_BATTERY_CHANGED))?.let(::keep)
    }

    private fun keep(news: Intent) {
        intent = news
        intentMs = SystemClock.elapsedRealtime()
    }

    override fun read(withHeadroom: Boolean): Reading {
        // Counting the footprint walks the app's memory map, so it is done every other time only.
        if (withHeadroom) footprintBytes = Debug.getPss() * BYTES_PER_KIB
        val state = intent
        return Reading(
            batteryLevel = state?.let(::level),
            charging = state?.let { it.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0 },
            thermalStatus = power.currentThermalStatus,
            thermalHeadroom =
                if (withHeadroom) {
                    power
                        .getThermalHeadroom(
                            0,
                        ).toDouble()
                        .takeUnless(Double::isNaN)
                } else {
                    null
                },
            lowPowerMode = power.isPowerSaveMode,
            memFootprintBytes = footprintBytes,
            memAvailableBytes = memory(context).availMem,
            currentRaw = property(BatteryManager.BATTERY_PROPERTY_CURRENT_NOW),
            voltageMv = extra(state, BatteryManager.EXTRA_VOLTAGE)?.takeIf { it >= MIN_VOLTAGE_MV }?.toDouble(),
            temperatureC = extra(state, BatteryManager.EXTRA_TEMPERATURE)?.let { it / 10.0 },
            chargeUah = property(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER)?.takeIf { it > 0 },
            energyNwh = property(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER)?.takeIf { it > 0 },
            batteryAgeMs = state?.let { SystemClock.elapsedRealtime() - intentMs },
            rails = rails?.read(),
        )
    }

    private fun level(state: Intent): Double? {
        val level = extra(state, BatteryManager.EXTRA_LEVEL) ?: return null
        val scale = extra(state, BatteryManager.EXTRA_SCALE) ?: return null
        return if (scale > 0) (level.toDouble() / scale).coerceIn(0.0, 1.0) else null
    }

    private fun extra(
        state: Intent?,
        name: String,
    ): Int? = state?.getIntExtra(name, Int.MIN_VALUE)?.takeIf { it != Int.MIN_VALUE }

    /** Long.MIN_VALUE, or Int.MIN_VALUE on its way through an int, means "not supported". */
    private fun property(id: Int): Long? =
        battery.getLongProperty(id).takeIf { it != Long.MIN_VALUE && it != Int.MIN_VALUE.toLong() }
}

/** The phone's memory as Android sees it. */
internal fun memory(context: Context): ActivityManager.MemoryInfo {
    val manager = context.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager
    return ActivityManager.MemoryInfo().also(manager::getMemoryInfo)
}
