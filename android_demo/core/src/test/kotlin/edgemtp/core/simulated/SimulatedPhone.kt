package edgemtp.core.simulated

import edgemtp.core.device.DeviceFacts
import edgemtp.core.device.DeviceProbe
import edgemtp.core.device.Rails
import edgemtp.core.device.Reading

private const val IDLE_UA = -250_000L
private const val BUSY_UA = -1_200_000L
private const val CAPACITY_UAH = 4_000_000.0
private const val MB = 1_000_000L

/** A phone whose battery drains and which heats up while it computes; what it says of that can be spoilt. */
class SimulatedPhone(
    private val time: SimulatedTime,
    /** What the gauge makes of microamperes (negative while discharging). */
    var gauge: (Long) -> Long = { it },
    var level: Double = 0.8,
    /** Heat that a busy second adds and an idle one takes; throttling begins at 1. */
    val heatingPerS: Double = 0.0,
    val coolingPerS: Double = 0.01,
) : DeviceProbe {
    var charging: Boolean = false
    var lowPower: Boolean = false
    var busy: Boolean = false
    var dumb: Boolean = false
    var broken: Boolean = false
    var heat: Double = 0.0
        private set
    private var seenNs = time.nowNs()
    private var chargeUah = level * CAPACITY_UAH
    private var railUws = 0.0

    /** Times as slow as a cool phone. */
    fun slowness(): Double {
        live()
        return if (heat > 1) 1.6 else 1.0
    }

    override fun read(withHeadroom: Boolean): Reading {
        live()
        check(!broken) { "sensor service died" }
        if (dumb) return Reading(memFootprintBytes = 900 * MB)
        val currentUa =
            if (charging) {
                900_000
            } else if (busy) {
                BUSY_UA
            } else {
                IDLE_UA
            }
        return Reading(
            batteryLevel = Math.round(level * 100) / 100.0,
            charging = charging,
            thermalStatus = if (heat > 1) 2 else 0,
            thermalHeadroom = if (withHeadroom) minOf(heat, 2.0) else null,
            lowPowerMode = lowPower,
            memFootprintBytes = (if (busy) 1900 else 900) * MB,
            memAvailableBytes = 4000 * MB,
            currentRaw = gauge(currentUa),
            voltageMv = 3900.0,
            temperatureC = 30 + 10 * heat,
            chargeUah = chargeUah.toLong(),
            batteryAgeMs = 400,
            rails = Rails(mapOf("CPU" to railUws.toLong()), time.nowNs()),
        )
    }

    private fun live() {
        val seconds = (time.nowNs() - seenNs) / 1e9
        seenNs = time.nowNs()
        heat = maxOf(0.0, heat + seconds * if (busy) heatingPerS else -coolingPerS)
        if (!charging) chargeUah += seconds / 3600 * if (busy) BUSY_UA else IDLE_UA
        level = chargeUah / CAPACITY_UAH
        railUws += seconds * if (busy) 4e6 else 5e5
    }
}

val FACTS: DeviceFacts = DeviceFacts("1.0.0", "16", "Simulated Phone", "Simulated SoC", 12_000 * MB, 8)
