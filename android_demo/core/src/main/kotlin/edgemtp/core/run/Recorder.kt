package edgemtp.core.run

import edgemtp.core.device.DeviceProbe
import edgemtp.core.device.GaugeCalibration
import edgemtp.core.device.Reading
import edgemtp.core.device.Time
import edgemtp.core.device.toJson
import edgemtp.core.log.Kind
import edgemtp.core.log.LogWriter
import edgemtp.core.log.Phase
import edgemtp.core.log.sampleFields

/** Milliseconds between samples. */
const val SAMPLE_PERIOD_MS: Long = 1000

/** Reads the sensors once a second, writes the samples, and says what changed. */
class Recorder(
    private val log: LogWriter,
    private val probe: DeviceProbe,
    private val time: Time,
) {
    /** What the phone is doing; written into each sample. */
    @Volatile
    var phase: Phase = Phase.IDLE

    /** The newest reading. */
    @Volatile
    var newest: Reading = probe.read(withHeadroom = true)
        private set

    /** Why the log could not be written or the sensors not be read; null while they could. The run ends then. */
    @Volatile
    var failure: Exception? = null
        private set

    @Volatile
    private var gauge: GaugeCalibration? = null

    @Volatile
    private var watch: TrialWatch? = null
    private var count = 0L

    /** Starts sampling; close the handle to stop it. */
    fun start(): AutoCloseable = time.every(SAMPLE_PERIOD_MS, ::sample)

    /** Writes the calibration, and the current in microamperes from here on if it tells how. */
    fun calibrated(found: GaugeCalibration) {
        gauge = found
        log.event("current_calibration", found.toJson())
    }

    /** From here on samples belong to the trial of [next]; null: to none. */
    fun watchTrial(next: TrialWatch?) {
        watch = next
    }

    /** Reads and writes one sample. Thermal headroom is only asked for every other time. */
    @Synchronized
    fun sample() {
        // Whatever a sensor throws would otherwise end the sampling thread without a word.
        noting {
            val reading = probe.read(withHeadroom = count++ % 2 == 0L)
            val before = newest
            newest = reading
            val trial = watch
            trial?.see(time.nowNs(), reading)
            sayChanges(before, reading)
            val railsMs = reading.rails?.let { log.runMs(it.takenAtNs).coerceAtLeast(0) }
            log.write(Kind.SAMPLE, sampleFields(phase, trial?.index, reading, gauge, railsMs))
        }
    }

    /** Writes an event for a thread that is not the run's own, so that a full storage ends the run and not the app. */
    fun event(name: String): Unit = noting { log.event(name) }

    private fun noting(step: () -> Unit) {
        try {
            step()
        } catch (error: Exception) {
            failure = error
        }
    }

    private fun sayChanges(
        before: Reading,
        now: Reading,
    ) {
        sayChange("thermal_change", before.thermal, now.thermal)
        sayChange("battery_step", before.batteryLevel, now.batteryLevel)
        sayChange("charging_change", before.charging, now.charging)
        sayChange("low_power_change", before.lowPowerMode, now.lowPowerMode)
    }

    private fun sayChange(
        name: String,
        before: Any?,
        now: Any?,
    ) {
        if (now != null && before != null && now != before) log.event(name, now)
    }
}
