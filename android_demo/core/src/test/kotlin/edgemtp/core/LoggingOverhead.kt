package edgemtp.core

import edgemtp.core.device.DeviceProbe
import edgemtp.core.device.GaugeCalibration
import edgemtp.core.device.GaugeUnit
import edgemtp.core.device.Reading
import edgemtp.core.device.ThreadTime
import edgemtp.core.log.FileSink
import edgemtp.core.log.LogWriter
import edgemtp.core.run.Recorder
import edgemtp.core.simulated.RUN
import edgemtp.core.simulated.SimulatedPhone
import edgemtp.core.simulated.SimulatedTime
import java.io.File

private const val WARM_UP = 20_000
private const val SAMPLES = 20_000

/** Prints what a sample costs on this JVM, from the reading that the phone gave to the line in its file. */
fun main() {
    val file = File.createTempFile("overhead", ".jsonl")
    val reading = SimulatedPhone(SimulatedTime()).read(withHeadroom = true)
    val probe =
        object : DeviceProbe {
            override fun read(withHeadroom: Boolean): Reading = reading
        }
    val time = ThreadTime(System::nanoTime)
    LogWriter(FileSink(file), RUN, time).use { log ->
        val recorder = Recorder(log, probe, time)
        recorder.calibrated(GaugeCalibration.Known(GaugeUnit.UA, -1, 30, -250_000))
        repeat(WARM_UP) { recorder.sample() }
        val bytesBefore = file.length()
        val costsNs =
            List(SAMPLES) {
                val startNs = System.nanoTime()
                recorder.sample()
                System.nanoTime() - startNs
            }.sorted()
        val bytes = (file.length() - bytesBefore) / SAMPLES
        val (median, high) = listOf(0.5, 0.99).map { costsNs[(it * SAMPLES).toInt()] / 1000.0 }
        println("%.1f µs a sample (median), %.1f µs (99th percentile), %d bytes".format(median, high, bytes))
    }
    file.delete()
}
