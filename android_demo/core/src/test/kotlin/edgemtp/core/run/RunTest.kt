package edgemtp.core.run

import edgemtp.core.engine.Switching
import edgemtp.core.json.JsonBoolean
import edgemtp.core.json.JsonObject
import edgemtp.core.json.JsonText
import edgemtp.core.json.boolean
import edgemtp.core.json.integer
import edgemtp.core.json.list
import edgemtp.core.json.number
import edgemtp.core.json.objectAt
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.json.texts
import edgemtp.core.simulated.Behaviour
import edgemtp.core.simulated.GATE
import edgemtp.core.simulated.SimulatedPhone
import edgemtp.core.simulated.SimulatedRun
import edgemtp.core.simulated.SimulatedTime
import edgemtp.core.simulated.planOf
import org.junit.jupiter.api.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

class RunTest {
    private fun SimulatedRun.trials(): List<JsonObject> = records("trial")

    private fun JsonObject.arm(): String = text("arm")

    @Test
    fun `a run goes through warm-ups and pairs in ABBA order`() {
        val run = SimulatedRun()
        val outcome = run.run()
        assertEquals(EndReason.FINISHED, outcome.reason)
        assertEquals(emptyList(), outcome.notices)
        val first = run.plan.pairs[0].first
        val arms = listOf("spec_off", "spec_on") + listOf(first, first.other(), first.other(), first).map { it.word }
        assertEquals(arms, run.trials().map { it.arm() })
        assertEquals(listOf(true, true, false, false, false, false), run.trials().map { it.boolean("warmup") })
        assertTrue(run.trials().all { it.boolean("valid") })
        assertEquals("run", readJsonObject(run.memory.lines.first()).text("kind"))
        assertEquals("finished", run.records("end").single().text("reason"))
        assertTrue(run.memory.closed)
        assertEquals(0, run.engines.open)
    }

    @Test
    fun `trials hold what the engine and the clock said`() {
        val run = SimulatedRun()
        run.run()
        val (on, off) = listOf("spec_on", "spec_off").map { arm -> run.trials().last { it.arm() == arm } }
        assertEquals(listOf(40L, 20L), listOf("output_tokens", "chunks").map(on::integer))
        assertEquals(listOf(40L, 40L), listOf("output_tokens", "chunks").map(off::integer))
        assertEquals(600.0, off.number("ttft_ms"))
        assertEquals(100.0, off.objectAt("itl_ms").number("p95"))
        assertEquals("length", off.text("finish_reason"))
        assertEquals(off.integer("t_ms") - off.integer("start_t_ms"), off.number("wall_ms").toLong())
        val summary = run.records("end").single().objectAt("summary")
        assertEquals(20 / 13.0, summary.objectAt("speed_up").number("value"), 1e-6)
        assertEquals(0.48, summary.number("acceptance_rate"))
        val engine = run.records("engine").single()
        assertEquals("active", engine.text("drafting"))
        assertEquals("runtime_log", engine.text("acceptance_source"))
        assertEquals(2400.0, engine.number("load_ms"))
    }

    @Test
    fun `both arms must write the same text`() {
        fun equal(run: SimulatedRun): List<Boolean> =
            run.also { it.run() }.trials().mapNotNull { (it["output_equals_pair"] as? JsonBoolean)?.value }
        assertEquals(listOf(true, true), equal(SimulatedRun()))
        assertEquals(listOf(false, false), equal(SimulatedRun(behaviour = Behaviour(lossy = true))))
    }

    @Test
    fun `samples come once a second, with unit and sign once they are known`() {
        val run = SimulatedRun()
        run.run()
        val samples = run.records("sample")
        val (before, after) = samples.partition { it.integer("t_ms") < 30_000 }
        assertTrue(before.all { it["battery_current_ua"] == null && it["battery_current_raw"] != null })
        assertTrue(after.drop(2).all { it.integer("battery_current_ua") < 0 })
        val gaps = samples.map { it.integer("t_ms") }.zipWithNext { a, b -> b - a }
        assertTrue(gaps.all { it in 0..1000 }, "$gaps")
        assertEquals(
            "ua",
            run
                .events("current_calibration")
                .single()
                .objectAt("value")
                .text("unit"),
        )
        assertTrue(samples.count { it["thermal_headroom"] != null } in samples.size / 2 - 2..samples.size / 2 + 2)
        assertTrue(samples.any { it.text("phase") == "decode" } && samples.any { it.text("phase") == "load" })
    }

    @Test
    fun `a gauge in milliamperes with the other sign is understood`() {
        val time = SimulatedTime()
        val run = SimulatedRun(time = time, phone = SimulatedPhone(time, gauge = { -it / 1000 }))
        run.run()
        val value = run.events("current_calibration").single().objectAt("value")
        assertEquals("ma", value.text("unit"))
        assertEquals(1, value.integer("discharge_sign"))
        assertEquals(-250_000, value.integer("idle_ua"))
        val known = run.records("sample").filter { it["battery_current_ua"] != null }
        assertTrue(known.isNotEmpty() && known.all { it.integer("battery_current_ua") < 0 })
    }

    @Test
    fun `a charger that is plugged in voids trials, shuts the gate, and leaves the current alone`() {
        val time = SimulatedTime()
        val phone = SimulatedPhone(time)
        val run = SimulatedRun(planOf(gate = GATE.copy(maxWaitS = 20)), time = time, phone = phone)
        time.inSeconds(44.0) { phone.charging = true }
        val outcome = run.run()
        assertEquals(listOf(true), run.events("charging_change").map { it.boolean("value") })
        val plugged = run.trials().filter { "charging" in it.texts("invalid_reasons") }
        assertTrue(plugged.isNotEmpty())
        assertTrue(plugged.drop(1).all { "gate_timeout" in it.texts("invalid_reasons") && !it.boolean("gate_passed") })
        assertEquals(20_000L, plugged.last().integer("gate_wait_ms"))
        assertTrue(Notice.ChargerPlugged in outcome.notices)
        assertTrue(run.progress.any { it.waitingFor == listOf(GateReason.CHARGING) })
    }

    @Test
    fun `a phone on the charger from the start has no calibration`() {
        val run = SimulatedRun().also { it.phone.charging = true }
        run.run()
        assertTrue(
            "charger" in
                run
                    .events("current_calibration")
                    .single()
                    .objectAt("value")
                    .text("reason"),
        )
        assertTrue(run.records("sample").all { it["battery_current_ua"] == null })
    }

    @Test
    fun `a hot phone is waited for, and slows down when it may`() {
        val time = SimulatedTime()
        val phone = SimulatedPhone(time, heatingPerS = 0.05, coolingPerS = 0.03)
        val run = SimulatedRun(planOf(blockS = 60), time = time, phone = phone)
        run.run()
        assertTrue(run.events("thermal_change").map { it.integer("value") }.containsAll(listOf(0L, 1L)))
        assertTrue(run.trials().any { it.texts("invalid_reasons") == listOf("thermal") })
        assertTrue(run.trials().any { it["gate_wait_ms"] != null && it.integer("gate_wait_ms") > 1000 })
        assertTrue(run.trials().all { it["gate_passed"] == null || it.boolean("gate_passed") })
        val rates = run.trials().filter { it.arm() == "spec_off" }.map { it.number("decode_tps") }
        assertTrue(rates.min() < 0.7 * rates.max())
    }

    @Test
    fun `a sustained block may run hot`() {
        val time = SimulatedTime()
        val phone = SimulatedPhone(time, heatingPerS = 0.02)
        val run = SimulatedRun(planOf(pairs = 1, blockS = 300, baselineS = 60), time = time, phone = phone)
        run.run()
        assertTrue(run.trials().any { it.number("non_nominal_fraction") > 0.5 })
        assertTrue(run.trials().none { "thermal" in it.texts("invalid_reasons") })
        assertEquals(
            3,
            run
                .trials()
                .filter { !it.boolean("warmup") }
                .map { it.text("prompt") }
                .toSet()
                .size,
        )
        assertTrue(run.records("sample").count { it.text("phase") == "baseline" } in 115..125)
    }

    @Test
    fun `a runtime that silently does not draft is found out`() {
        val run = SimulatedRun(behaviour = Behaviour(drafts = false, logsRate = null))
        val outcome = run.run()
        val on = run.trials().filter { it.arm() == "spec_on" }
        assertTrue(on.all { it.texts("invalid_reasons") == listOf("not_drafting") })
        assertTrue(run.trials().filter { it.arm() == "spec_off" }.all { it.boolean("valid") })
        val engine = run.records("engine").single()
        assertEquals("inactive", engine.text("drafting"))
        assertEquals("none", engine.text("acceptance_source"))
        assertNull(engine["acceptance_rate"])
        assertTrue(outcome.notices.single() is Notice.NotDrafting)
    }

    @Test
    fun `an engine that does not start with drafting goes on without, and says so`() {
        for (switching in Switching.entries) {
            val run = SimulatedRun(behaviour = Behaviour(refusesDrafting = true), switching = switching)
            val outcome = run.run()
            assertEquals(EndReason.FINISHED, outcome.reason)
            assertEquals("TF_LITE_MTP_DRAFTER not found", run.events("fallback").single().text("value"))
            val on = run.trials().filter { it.arm() == "spec_on" }
            assertTrue(on.all { it.texts("invalid_reasons") == listOf("not_drafting", "fallback") })
            val asked = if (switching == Switching.ENGINE) listOf(false, true) else listOf(true)
            assertEquals(asked, run.records("engine").map { it.boolean("speculative") }, "one engine from there")
            val words = asked.map { if (it) "inactive" else "off" }
            assertEquals(words, run.records("engine").map { it.text("drafting") })
            assertEquals(Notice.FellBack("TF_LITE_MTP_DRAFTER not found"), outcome.notices.single())
            assertNull(run.records("end").single().objectAt("summary")["speed_up"])
        }
    }

    @Test
    fun `a bundle without drafter is run without, and says so`() {
        val run = SimulatedRun(hasDrafter = false)
        run.run()
        assertTrue(run.engines.loads.none { it.speculative })
        assertEquals("the bundle has no drafter", run.events("fallback").single().text("value"))
    }

    @Test
    fun `an engine an arm is loaded for each block`() {
        val run = SimulatedRun(switching = Switching.ENGINE)
        run.run()
        val lives = run.records("engine")
        assertEquals(run.engines.loads.map { it.speculative }, lives.map { it.boolean("speculative") })
        assertTrue(lives.size >= 3)
        val warmups = run.trials().filter { it.boolean("warmup") }
        assertEquals(lives.size, warmups.size, "every engine answers once before it counts")
        assertTrue(lives.all { it.list("trials").first() in warmups.map { one -> one["index"] } })
        val without = SimulatedRun(planOf(warmups = 0), switching = Switching.ENGINE).also { it.run() }
        assertTrue(without.trials().none { it.boolean("warmup") })
        assertEquals((0L until lives.size).toList(), lives.map { it.integer("index") })
        assertTrue(lives.all { it.boolean("speculative") == (it["acceptance_rate"] != null) })
    }

    @Test
    fun `a runtime that refuses the bundle ends the run with its words`() {
        val run = SimulatedRun(behaviour = Behaviour(refusesAll = true))
        val outcome = run.run()
        assertEquals(EndReason.ERROR, outcome.reason)
        assertEquals(Notice.RuntimeRefused("TF_LITE_PREFILL_DECODE not found"), outcome.notices.first())
        assertTrue("TF_LITE_PREFILL_DECODE" in run.events("error").single().text("value"))
        assertEquals("error", run.records("end").single().text("reason"))
    }

    @Test
    fun `out of memory ends the run, at load and later, with its log whole`() {
        for (behaviour in listOf(Behaviour(outOfMemoryAtLoad = true), Behaviour(outOfMemoryFrom = 3))) {
            val run = SimulatedRun(behaviour = behaviour)
            val outcome = run.run()
            assertEquals(EndReason.ERROR, outcome.reason)
            assertEquals(Notice.OutOfMemory, outcome.notices.first())
            assertEquals("error", run.records("end").single().text("reason"))
            assertEquals(0, run.engines.open)
        }
    }

    @Test
    fun `one failure is a trial's, three in a row end the run`() {
        val run = SimulatedRun(behaviour = Behaviour(failsFrom = 2))
        val outcome = run.run()
        val failed = run.trials().filter { it.text("finish_reason") == "error" }
        assertEquals(3, failed.size)
        assertTrue(failed.all { it.text("error") == "INTERNAL: sampler failed" })
        assertTrue(failed.all { "error" in it.texts("invalid_reasons") })
        assertTrue(failed.all { it["output_sha256"] == null })
        assertEquals(EndReason.ERROR, outcome.reason)
        assertTrue(outcome.notices.first() is Notice.GenerationFailed)
    }

    @Test
    fun `a stop in the middle of a reply cancels it and ends the run`() {
        val run = SimulatedRun()
        run.time.inSeconds(35.0) { run.machine.stop() }
        run.time.inSeconds(35.1) { run.machine.stop() }
        val outcome = run.run()
        assertEquals(EndReason.STOPPED, outcome.reason)
        val last = run.trials().last()
        assertEquals("cancelled", last.text("finish_reason"))
        assertEquals(listOf("cancelled"), last.texts("invalid_reasons"))
        assertEquals(1, run.events("cancel").size)
        assertEquals("stopped", run.records("end").single().text("reason"))
        assertEquals(0, run.engines.open)
    }

    @Test
    fun `a stop while the phone cools ends the run too`() {
        val run = SimulatedRun(planOf(cooldownS = 60))
        run.time.inSeconds(60.0) { run.machine.stop() }
        assertEquals(EndReason.STOPPED, run.run().reason)
    }

    @Test
    fun `leaving the screen voids the trial and holds the next block until the app is back`() {
        val run = SimulatedRun()
        run.time.inSeconds(35.0) { run.machine.background() }
        run.time.inSeconds(36.0) { run.machine.memoryWarning() }
        run.time.inSeconds(80.0) { run.machine.foreground() }
        val outcome = run.run()
        assertEquals(EndReason.FINISHED, outcome.reason)
        val void = run.trials().filter { it.texts("invalid_reasons").isNotEmpty() }
        assertEquals(listOf("cancelled", "background"), void.single().texts("invalid_reasons"))
        assertEquals("cancelled", void.single().text("finish_reason"))
        assertEquals(6, run.trials().size, "what was void is not repeated")
        val next = run.trials()[void.single().integer("index").toInt() + 1]
        assertTrue(next.integer("start_t_ms") >= 79_000)
        assertEquals(listOf(1, 1, 1), listOf("background", "foreground", "memory_warning").map { run.events(it).size })
    }

    @Test
    fun `the gate waits for the app to be on the screen`() {
        val run = SimulatedRun(planOf(cooldownS = 60))
        run.time.inSeconds(60.0) { run.machine.background() }
        run.time.inSeconds(150.0) { run.machine.foreground() }
        assertEquals(EndReason.FINISHED, run.run().reason)
        val waited = run.trials().first { !it.boolean("warmup") }
        assertTrue(waited.boolean("gate_passed") && waited.integer("gate_wait_ms") > 10_000)
        assertTrue(run.trials().all { it.boolean("valid") })
        assertTrue(run.progress.any { it.waitingFor == listOf(GateReason.BACKGROUND) })
    }

    @Test
    fun `a pair and its blocks are told as they start, and pairs share the idle time between them`() {
        val run = SimulatedRun(planOf(pairs = 2, baselineS = 20, cooldownS = 5))
        run.run()
        assertEquals(listOf(0L, 1L), run.events("pair").map { it.objectAt("value").integer("pair") })
        assertTrue(run.events("pair").all { it.objectAt("value").fields.keys == setOf("pair") })
        val blocks = run.events("block").map { it.objectAt("value") }
        assertEquals(listOf(0L, 0L, 1L, 1L), blocks.map { it.integer("pair") })
        assertEquals(listOf(0L, 1L, 0L, 1L), blocks.map { it.integer("order") })
        val counted = run.trials().filter { !it.boolean("warmup") }
        assertEquals(counted.map { it.arm() }, blocks.map { it.text("arm") })
        val names = run.memory.lines.map { readJsonObject(it)["name"] }
        val place = names.indexOf(JsonText("pair"))
        assertEquals(JsonText("block"), names[place + 1])
        val phases = run.records("sample").groupingBy { it.text("phase") }.eachCount()
        assertTrue(phases.getValue("baseline") in 55..65, "$phases")
        assertTrue(phases.getValue("cooldown") in 16..26, "$phases")
        assertTrue(run.trials().filter { it.boolean("warmup") }.all { it["gate_passed"] == null })
    }

    @Test
    fun `a low battery and power saving void trials`() {
        val time = SimulatedTime()
        val phone = SimulatedPhone(time, level = 0.195).also { it.lowPower = true }
        val run = SimulatedRun(planOf(gate = GATE.copy(maxWaitS = 5)), time = time, phone = phone)
        run.run()
        val reasons = run.trials().last().texts("invalid_reasons")
        assertTrue(reasons.containsAll(listOf("low_power", "battery_low", "gate_timeout")), "$reasons")
    }

    @Test
    fun `a phone without sensors runs all the same, and its fields are absent`() {
        val run = SimulatedRun().also { it.phone.dumb = true }
        val outcome = run.run()
        assertEquals(EndReason.FINISHED, outcome.reason)
        assertTrue(run.trials().all { it.boolean("valid") })
        assertTrue(run.records("sample").all { it["battery_level"] == null && it["thermal"] == null })
        val said = assertNotNull(outcome.notices.single() as? Notice.SensorsMissing)
        assertTrue("battery current" in said.names)
        assertTrue(
            "0 values" in
                run
                    .events("current_calibration")
                    .single()
                    .objectAt("value")
                    .text("reason"),
        )
    }

    @Test
    fun `a sensor that throws ends the run with its words`() {
        val run = SimulatedRun()
        run.time.inSeconds(40.0) { run.phone.broken = true }
        val outcome = run.run()
        assertEquals(EndReason.ERROR, outcome.reason)
        assertEquals(Notice.Unexpected("java.lang.IllegalStateException: sensor service died"), outcome.notices.first())
        assertEquals("error", run.records("end").single().text("reason"))
        assertEquals(0, run.engines.open)
    }

    @Test
    fun `what happens before the first record is written behind it`() {
        val run = SimulatedRun()
        run.machine.memoryWarning()
        run.machine.stop()
        assertEquals(EndReason.STOPPED, run.run().reason)
        val words =
            run.memory.lines
                .map { readJsonObject(it) }
                .map { it["name"] ?: it["kind"] }
        assertEquals(listOf("run", "memory_warning", "cancel", "end").map(::JsonText), words)
    }

    @Test
    fun `a full storage ends the run with a message`() {
        val full =
            object : edgemtp.core.log.LineSink {
                var left = 50

                override fun append(
                    line: String,
                    durable: Boolean,
                ) {
                    if (left-- <= 0) throw java.io.IOException("No space left on device")
                }

                override fun close() = Unit
            }
        val run = SimulatedRun(sink = full)
        val outcome = run.run()
        assertEquals(EndReason.ERROR, outcome.reason)
        assertEquals(Notice.LogNotWritten("No space left on device"), outcome.notices.last())
        assertEquals(0, run.engines.open)
    }

    @Test
    fun `a battery step and a change of power saving are told when they happen`() {
        val run = SimulatedRun(planOf(pairs = 6, blockS = 60))
        run.time.inSeconds(50.0) { run.phone.lowPower = true }
        run.time.inSeconds(55.0) { run.phone.lowPower = false }
        run.run()
        assertTrue(run.events("battery_step").isNotEmpty())
        assertEquals(listOf(true, false), run.events("low_power_change").map { it.boolean("value") })
        assertFalse(run.trials().filter { it["repeat"] != null }.all { it.integer("repeat") == 0L })
        assertEquals(JsonText("pair"), run.events("pair").first()["name"])
    }
}
