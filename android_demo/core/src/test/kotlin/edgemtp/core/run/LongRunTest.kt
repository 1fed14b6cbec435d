package edgemtp.core.run

import edgemtp.core.engine.Backend
import edgemtp.core.engine.ScriptedEngineFactory
import edgemtp.core.json.integer
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.log.FileSink
import edgemtp.core.log.recoverLogs
import edgemtp.core.plan.Plan
import edgemtp.core.simulated.Behaviour
import edgemtp.core.simulated.GATE
import edgemtp.core.simulated.RUN
import edgemtp.core.simulated.SimulatedPhone
import edgemtp.core.simulated.SimulatedRun
import edgemtp.core.simulated.SimulatedTime
import edgemtp.core.simulated.WALL_TIME
import edgemtp.core.simulated.planOf
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** Whole runs into files, which `tests/android` feeds to `edge-mtp device`. */
class LongRunTest {
    private val directory = File(checkNotNull(System.getProperty("edgemtp.output"))).also { it.mkdirs() }

    @Test
    fun `a quarter of an hour of blocks for energy`() {
        val log = File(directory, "energy.jsonl").also { it.delete() }
        val time = SimulatedTime()
        val phone = SimulatedPhone(time, gauge = { -it / 1000 })
        val plan = planOf(pairs = 5, blockS = 60, baselineS = 30, cooldownS = 10, maxOutputTokens = 100)
        val outcome = SimulatedRun(plan, time = time, phone = phone, sink = FileSink(log)).run()
        assertEquals(EndReason.FINISHED, outcome.reason)
        val last = readJsonObject(log.readLines().last())
        assertEquals("end", last.text("kind"))
        assertTrue(last.integer("t_ms") > 15 * 60_000, "${last.integer("t_ms")} ms")
    }

    private fun misbehaving(
        name: String,
        plan: Plan = planOf(pairs = 3, gate = GATE.copy(maxWaitS = 20)),
        behaviour: Behaviour = Behaviour(),
        heatingPerS: Double = 0.0,
        spoil: SimulatedRun.() -> Unit = {},
    ) {
        val time = SimulatedTime()
        val phone = SimulatedPhone(time, heatingPerS = heatingPerS, coolingPerS = 0.02)
        val log = File(directory, "judged-$name.jsonl").also { it.delete() }
        val run = SimulatedRun(plan, behaviour, time, phone, sink = FileSink(log)).also(spoil)
        run.run()
        val reasons = log.readLines().filter { "\"kind\":\"trial\"" in it && "\"valid\":false" in it }
        assertTrue(reasons.isNotEmpty() || name == "lossy", name)
    }

    @Test
    fun `runs that go wrong, which the reader must judge alike`() {
        misbehaving("silent", behaviour = Behaviour(drafts = false, logsRate = null))
        misbehaving("fallback", behaviour = Behaviour(refusesDrafting = true))
        misbehaving("failing", behaviour = Behaviour(failsFrom = 4))
        misbehaving("lossy", behaviour = Behaviour(lossy = true))
        misbehaving("hot", planOf(pairs = 3, blockS = 60), heatingPerS = 0.05)
        misbehaving("charger") { time.inSeconds(46.3) { phone.charging = true } }
        misbehaving("saving") { time.inSeconds(46.3) { phone.lowPower = true } }
        misbehaving("stopped") { time.inSeconds(46.3) { machine.stop() } }
        misbehaving("background") {
            time.inSeconds(46.3) { machine.background() }
            time.inSeconds(70.0) { machine.foreground() }
        }
    }

    @Test
    fun `the dry flavour's script, whose figures are nobody's`() {
        val log = File(directory, "scripted.jsonl").also { it.delete() }
        val time = SimulatedTime()
        val spec = SimulatedRun().spec.copy(choice = RuntimeChoice(Backend.SCRIPTED))
        val machine = RunMachine(spec, ScriptedEngineFactory(time), SimulatedPhone(time), time, FileSink(log))
        assertEquals(EndReason.FINISHED, machine.run().reason)
        assertTrue("\"backend\":\"scripted\"" in log.readLines().first())
    }

    @Test
    fun `a run that is killed in the middle of a line, and the next start`() {
        val log = File(directory, "killed.jsonl").also { it.delete() }
        val run = SimulatedRun(planOf(pairs = 3))
        run.run()
        val lines = run.memory.lines
        val kept = lines.take(lines.size * 2 / 3)
        log.writeText(kept.joinToString("\n") + "\n" + lines[kept.size].take(60))
        val marked = recoverLogs(directory, WALL_TIME)
        assertEquals(listOf(log), marked)
        val after = log.readLines()
        assertEquals(kept.size + 2, after.size)
        val said = readJsonObject(after.last())
        assertEquals(listOf("interrupted", RUN), listOf(said.text("name"), said.text("run")))
        assertEquals(readJsonObject(kept.last()).integer("seq") + 1, said.integer("seq"))
    }
}
