package edgemtp.core.run

import edgemtp.core.device.Reading
import edgemtp.core.json.number
import edgemtp.core.json.objectAt
import edgemtp.core.plan.Arm
import edgemtp.core.plan.GateLimits
import edgemtp.core.plan.sha256
import edgemtp.core.simulated.GATE
import edgemtp.core.simulated.planOf
import org.junit.jupiter.api.Test
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

class FiguresTest {
    @Test
    fun `quantiles lie between neighbours`() {
        assertEquals(2.5, quantile(listOf(1.0, 2.0, 3.0, 4.0), 0.5))
        assertEquals(1.0, quantile(listOf(1.0), 0.95))
        assertEquals(3.85, quantile(listOf(1.0, 2.0, 3.0, 4.0), 0.95), 1e-9)
        assertNull(median(emptyList()))
    }

    @Test
    fun `the interval holds the mean, is the seed's, and needs two`() {
        val ratios = listOf(1.2, 1.5, 1.4, 1.3, 1.6, 1.1, 1.45, 1.35)
        val found = assertNotNull(bootstrapInterval(ratios, 7))
        assertTrue(geometricMean(ratios) in found)
        assertTrue(found.start > 1.1 && found.endInclusive < 1.6)
        assertEquals(found, bootstrapInterval(ratios, 7))
        assertTrue(found != bootstrapInterval(ratios, 8))
        assertNull(bootstrapInterval(listOf(1.5), 7))
        assertEquals(2.0, geometricMean(listOf(1.0, 4.0)), 1e-12)
    }

    private fun trial(
        pair: Int,
        arm: Arm,
        decodeTps: Double?,
        vararg reasons: String,
    ) = TrialResult(0, pair, 0, 0, arm, false, CycleCount(40, 40), decodeTps, null, reasons.asList())

    @Test
    fun `speed-up takes complete pairs of valid trials only`() {
        val trials =
            listOf(
                trial(0, Arm.SPEC_OFF, 10.0),
                trial(0, Arm.SPEC_ON, 20.0),
                trial(1, Arm.SPEC_OFF, 10.0),
                trial(1, Arm.SPEC_ON, 5.0),
                trial(2, Arm.SPEC_OFF, 10.0),
                trial(2, Arm.SPEC_ON, 100.0, "thermal"),
                trial(3, Arm.SPEC_ON, 100.0),
                trial(4, Arm.SPEC_OFF, null),
            )
        val found = assertNotNull(speedUp(trials, 1))
        assertEquals(1.0, found.value, 1e-12)
        assertEquals(2, found.pairs)
        assertNull(speedUp(trials.take(1), 1))
        val summary = summarize(trials, 1, 0.4)
        assertEquals(4.0, summary.objectAt("spec_off").number("trials"))
        assertEquals(0.4, summary.number("acceptance_rate"))
        assertNull(summarize(trials.take(1), 1, null)["speed_up"])
    }

    @Test
    fun `a generation is timed by its pieces`() {
        var nowNs = 0L
        val meter = TrialMeter({ nowNs }, 0)
        val arrivals = listOf(500, 600, 700, 900)
        arrivals.forEachIndexed { index, ms ->
            nowNs = ms * 1_000_000L
            assertEquals(index == 0, meter.chunk("w$index "))
        }
        nowNs = 1_000_000_000
        val timing = meter.finish()
        assertEquals(listOf(500.0, 400.0, 1000.0), listOf(timing.ttftMs, timing.decodeMs, timing.wallMs))
        assertEquals(4, timing.chunks)
        assertEquals(4, meter.chunks)
        assertEquals(sha256("w0 w1 w2 w3 "), timing.sha256)
        val gaps = assertNotNull(timing.gaps())
        assertEquals(listOf(100.0, 190.0, 200.0), listOf("p50", "p95", "max").map(gaps::number))
        val nothing = TrialMeter({ 5_000_000 }, 0).finish()
        assertNull(nothing.ttftMs)
        assertNull(nothing.decodeMs)
        assertNull(nothing.gaps())
    }

    @Test
    fun `the gate names each thing that shuts it`() {
        val cool = Reading(batteryLevel = 0.5, charging = false, thermalStatus = 0, lowPowerMode = false)
        assertEquals(emptyList(), gateReasons(GATE, cool, false))
        assertEquals(emptyList(), gateReasons(GATE, Reading(), false), "what a phone does not tell shuts nothing")
        assertEquals(listOf(GateReason.HOT), gateReasons(GATE, cool.copy(thermalStatus = 1), false))
        assertEquals(listOf(GateReason.BATTERY_LOW), gateReasons(GATE, cool.copy(batteryLevel = 0.1), false))
        assertEquals(listOf(GateReason.CHARGING), gateReasons(GATE, cool.copy(charging = true), false))
        assertEquals(listOf(GateReason.LOW_POWER), gateReasons(GATE, cool.copy(lowPowerMode = true), false))
        assertEquals(listOf(GateReason.BACKGROUND), gateReasons(GATE, cool, true))
        val loose = GateLimits(3, 0.0, unplugged = false, lowPowerOff = false, maxWaitS = 0)
        val bad = Reading(batteryLevel = 0.1, charging = true, thermalStatus = 5, lowPowerMode = true)
        assertEquals(emptyList(), gateReasons(loose, bad, false))
    }

    @Test
    fun `a text that its budget cut equals one that goes on`() {
        val short = WrittenText("one", cut = false)
        val long = WrittenText("one two", cut = false)
        assertTrue(!short.equalsText(long) && !long.equalsText(short) && long.equalsText(long))
        val cut = short.copy(cut = true)
        assertTrue(cut.equalsText(long) && long.equalsText(cut))
        assertTrue(!cut.equalsText(WrittenText("two one", cut = false)))
        assertTrue(!short.equalsText(long.copy(cut = true)), "the longer one was cut, the shorter had said all")
    }

    private fun watch(reading: Reading): TrialWatch = TrialWatch(0, 0, reading).also { it.see(1_000_000_000, reading) }

    @Test
    fun `heat is a share of time, not of readings`() {
        val watch = TrialWatch(0, 0, Reading(thermalStatus = 0))
        watch.see(900, Reading(thermalStatus = 2))
        watch.see(950, Reading(thermalStatus = 2))
        watch.see(1000, Reading(thermalStatus = 2))
        assertEquals(0.1, watch.conditions().nonNominalFraction ?: -1.0, 1e-12)
        assertNull(TrialWatch(0, 0, Reading()).conditions().nonNominalFraction)
        assertEquals(0.0, TrialWatch(0, 0, Reading(thermalStatus = 2)).conditions().nonNominalFraction)
    }

    @Test
    fun `reasons come in the log's order, and each has its cause`() {
        val calm = watch(Reading(batteryLevel = 0.8, thermalStatus = 0)).conditions()
        val fine = Evidence(false, false, false, CycleCount(40, 20), true, calm)
        assertEquals(emptyList(), invalidReasons(planOf(), fine))
        val worst =
            watch(Reading(batteryLevel = 0.1, charging = true, thermalStatus = 3, lowPowerMode = true))
                .also { it.background = true }
                .conditions()
        val all = Evidence(true, true, true, CycleCount(40, 40), false, worst)
        val words =
            listOf(
                "error",
                "cancelled",
                "background",
                "not_drafting",
                "fallback",
                "charging",
                "low_power",
                "thermal",
                "battery_low",
                "gate_timeout",
            )
        assertEquals(words, invalidReasons(planOf(), all))
        assertEquals(words - "thermal", invalidReasons(planOf(blockS = 600), all), "a sustained block may run hot")
        assertEquals(emptyList(), invalidReasons(planOf(), fine.copy(drafted = null)))
        assertEquals(emptyList(), invalidReasons(planOf(), fine.copy(drafted = CycleCount(0, 0))))
        assertEquals(listOf("not_drafting"), invalidReasons(planOf(), fine.copy(drafted = CycleCount(104, 100))))
        assertEquals(emptyList(), invalidReasons(planOf(), fine.copy(drafted = CycleCount(105, 100))))
    }
}
