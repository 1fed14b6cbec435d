package edgemtp.core.run

import edgemtp.core.device.Reading

/** What the sensors said during one trial; [start] is the reading it began with. May be used from several threads. */
class TrialWatch(
    val index: Int,
    private val start: Reading,
) {
    private val readings = mutableListOf(start)

    /** The app left the screen during the trial. */
    @Volatile
    var background: Boolean = false

    /** Notes [reading]. */
    @Synchronized
    fun see(reading: Reading) {
        readings += reading
    }

    /** What was seen, once the trial has ended. */
    @Synchronized
    fun conditions(): Conditions =
        Conditions(
            levelStart = start.batteryLevel,
            levelEnd = readings.last().batteryLevel,
            lowestLevel = readings.mapNotNull { it.batteryLevel }.minOrNull(),
            thermalStart = start.thermal,
            thermalEnd = readings.last().thermal,
            nonNominalFraction = nonNominalFraction(),
            memPeakBytes = readings.mapNotNull { it.memFootprintBytes }.maxOrNull(),
            charging = readings.any { it.charging == true },
            lowPower = readings.any { it.lowPowerMode == true },
            background = background,
        )

    /** Samples are a second apart, so their share is the time's; the first one counts for what follows it. */
    private fun nonNominalFraction(): Double? {
        val levels = readings.mapNotNull { it.thermal }
        return if (levels.isEmpty()) null else levels.count { it > 0 }.toDouble() / levels.size
    }
}

/** Sensors over a trial; null is "the phone does not say". */
data class Conditions(
    val levelStart: Double?,
    val levelEnd: Double?,
    val lowestLevel: Double?,
    val thermalStart: Int?,
    val thermalEnd: Int?,
    val nonNominalFraction: Double?,
    val memPeakBytes: Long?,
    val charging: Boolean,
    val lowPower: Boolean,
    val background: Boolean,
)
