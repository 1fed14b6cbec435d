package edgemtp.core.device

import edgemtp.core.json.writeJson
import org.junit.jupiter.api.Test
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertNull
import kotlin.test.assertTrue

class DeviceTest {
    private fun idle(
        vararg raw: Long?,
        charging: Boolean = false,
    ): List<Reading> = raw.map { Reading(currentRaw = it, charging = charging) }

    private fun steady(raw: Long): List<Reading> = idle(*Array(30) { raw + it % 3 })

    @Test
    fun `thermal status is mapped as the log says`() {
        assertEquals(listOf(0, 1, 1, 2, 3, 3, 3), (0..6).map { thermalLevel(it) })
        assertNull(thermalLevel(null))
        assertNull(thermalLevel(7))
        assertEquals("MODERATE", thermalWord(2))
        assertEquals("9", thermalWord(9))
        assertNull(thermalWord(null))
    }

    @Test
    fun `unit and sign of four kinds of gauges are learnt`() {
        val cases =
            mapOf(
                -250_000L to Pair(GaugeUnit.UA, -1),
                250_000L to Pair(GaugeUnit.UA, 1),
                -250L to Pair(GaugeUnit.MA, -1),
                250L to Pair(GaugeUnit.MA, 1),
            )
        for ((raw, expected) in cases) {
            val found = assertIs<GaugeCalibration.Known>(calibrateGauge(steady(raw)))
            assertEquals(expected, Pair(found.unit, found.dischargeSign), "$raw")
            assertTrue(found.idleUa in -251_100L..-248_000L, "${found.idleUa}")
            val discharging = checkNotNull(found.microamperes(raw * 4))
            assertTrue(discharging in -1_000_000L..-1_000_000L, "$discharging")
        }
    }

    @Test
    fun `what cannot be told is not guessed`() {
        val cases =
            mapOf(
                "charger" to idle(*Array(30) { 250_000L }, charging = true),
                "sign changed" to idle(*Array(30) { if (it % 2 == 0) 250_000L else -250_000L }),
                "0 values" to idle(*arrayOfNulls(30)),
                "9 values" to idle(*Array(9) { -250_000L }),
            )
        for ((reason, readings) in cases) {
            val found = assertIs<GaugeCalibration.Unknown>(calibrateGauge(readings), reason)
            assertTrue(reason in found.reason, found.reason)
            assertNull(found.microamperes(-250_000))
            assertEquals("""{"reason":"${found.reason}"}""", writeJson(found.toJson()))
        }
        val known: GaugeCalibration = GaugeCalibration.Known(GaugeUnit.MA, 1, 30, -250_000)
        assertEquals(
            """{"unit":"ma","discharge_sign":1,"samples":30,"idle_ua":-250000}""",
            writeJson(known.toJson()),
        )
        assertNull(known.microamperes(null))
    }

    @Test
    fun `missing sensors are named`() {
        assertEquals(4, Reading().missingSensors().size)
        val all = Reading(batteryLevel = 0.5, thermalStatus = 0, currentRaw = -1, voltageMv = 3900.0)
        assertEquals(emptyList(), all.missingSensors())
    }

    @Test
    fun `real time calls back, and stops`() {
        val time = ThreadTime(System::nanoTime)
        val called = CountDownLatch(2)
        val startNs = time.nowNs()
        time.every(5) { called.countDown() }.use { assertTrue(called.await(5, TimeUnit.SECONDS)) }
        time.sleepMs(1)
        assertTrue(time.nowNs() > startNs)
    }
}
