package edgemtp.core.run

import edgemtp.core.device.Reading

/** What the sensors said during one trial, [start] at [startNs] being the first. May be used from several threads. */
class TrialWatch(
    val index: Int,
    startNs: Long,
    private val start: Reading,
) {
    private val timesNs = mutableListOf(startNs)
    private val readings = mutableListOf(start)

    /** The app left the screen during the trial. */
    @Volatile
    var background: Boolean = false

    /** Notes [reading], taken at [atNs]. */
    @Synchronized
    fun see(
        atNs: Long,
        reading: Reading,
    ) {
        timesNs += atNs
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

    /** By time: a level holds until the next reading. */
    private fun nonNominalFraction(): Double? {
        if (readings.all { it.thermal == null }) return null
        val spans = timesNs.zipWithNext { earlier, later -> later - earlier }
        val hotNs =
            spans
                .zip(readings)
                .filter { (_, reading) ->
                    (reading.thermal ?: 0) > 0
                }.sumOf { (span, _) -> span }
        val wholeNs = spans.sum()
        return if (wholeNs == 0L) 0.0 else hotNs.toDouble() / wholeNs
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
