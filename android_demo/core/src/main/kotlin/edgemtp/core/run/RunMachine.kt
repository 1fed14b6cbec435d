package edgemtp.core.run

import edgemtp.core.device.CALIBRATION_S
import edgemtp.core.device.DeviceProbe
import edgemtp.core.device.Reading
import edgemtp.core.device.Time
import edgemtp.core.device.calibrateGauge
import edgemtp.core.engine.EngineFactory
import edgemtp.core.engine.EngineRefused
import edgemtp.core.json.jsonOf
import edgemtp.core.log.Kind
import edgemtp.core.log.LineSink
import edgemtp.core.log.LogWriter
import edgemtp.core.log.Phase
import edgemtp.core.plan.Arm
import edgemtp.core.plan.Pairing
import edgemtp.core.plan.Prompt
import java.io.IOException

private const val MAX_FAILURES_IN_A_ROW = 3
private const val STEP_MS = 500L

/** How far a run is; [waitingFor] is why the gate is shut, [trials] how many generations have ended. */
data class Progress(
    val phase: Phase,
    val pair: Int?,
    val arm: Arm?,
    val trials: Int,
    val waitingFor: List<GateReason>,
)

/** How a run ended. */
data class RunOutcome(
    val reason: EndReason,
    val trials: List<TrialResult>,
    val notices: List<Notice>,
)

/** The word of the `end` record. */
enum class EndReason(
    val word: String,
) {
    /** The plan was run to its end. */
    FINISHED("finished"),

    /** The user stopped it. */
    STOPPED("stopped"),

    /** It could not go on. */
    ERROR("error"),
}

/**
 * Runs a plan unattended, and logs it: calibration, warm-ups, pairs of blocks with gates, cool-downs and baselines.
 *
 * [run] blocks its thread; the other public calls come from other threads and return at once.
 */
class RunMachine(
    private val spec: RunSpec,
    factory: EngineFactory,
    probe: DeviceProbe,
    private val time: Time,
    sink: LineSink,
    private val onProgress: (Progress) -> Unit = {},
) {
    private val plan = spec.plan
    private val log = LogWriter(sink, spec.run, time)
    private val opening = runFields(spec, factory.name, factory.version, factory.cacheIsWarm(spec.bundle.path))
    private val recorder = Recorder(log, probe, time)
    private val engines = EngineKeeper(factory, spec, log, recorder, time)
    private val trials = TrialRunner(plan, log, recorder, time)
    private val results = mutableListOf<TrialResult>()
    private val failures = mutableListOf<Notice>()

    private val early = mutableListOf<String>()
    private var opened = false

    @Volatile private var stopAsked = false

    @Volatile private var inBackground = false

    /** Ends the run soon; the trial that is running is cancelled. */
    fun stop() {
        if (stopAsked) return
        stopAsked = true
        say("cancel")
        engines.loaded?.cancel()
    }

    /** The app left the screen: the trial that is running is cancelled and void, and the next one waits. */
    fun background() {
        inBackground = true
        say("background")
        val running = trials.running ?: return
        running.background = true
        engines.loaded?.cancel()
    }

    /** The app is back on the screen. */
    fun foreground() {
        inBackground = false
        say("foreground")
    }

    /** The system said that memory is short. */
    fun memoryWarning(): Unit = say("memory_warning")

    /** Runs the plan to its end, or until something stops it. The log is closed then, whatever happened. */
    fun run(): RunOutcome =
        log.use {
            try {
                open()
                val reason = recorder.start().use { attempt(::everything).also { attempt(engines::unload) } }
                log.write(Kind.END, jsonOf("reason" to reason.word, "summary" to summary()))
                RunOutcome(reason, results, notices())
            } catch (error: IOException) {
                engines.abandon()
                RunOutcome(EndReason.ERROR, results, notices() + Notice.LogNotWritten(error.message.orEmpty()))
            }
        }

    private fun attempt(step: () -> Unit): EndReason =
        try {
            step()
            EndReason.FINISHED
        } catch (_: RunStopped) {
            EndReason.STOPPED
        } catch (error: EngineRefused) {
            fail(Notice.RuntimeRefused(error.message.orEmpty()))
        } catch (error: TooManyFailures) {
            fail(Notice.GenerationFailed(error.message.orEmpty()))
        } catch (_: OutOfMemoryError) {
            fail(Notice.OutOfMemory)
        } catch (error: IOException) {
            throw error
        } catch (error: Exception) {
            fail(Notice.Unexpected(error.toString()))
        }

    /** The first record, and behind it what happened before it. */
    private fun open(): Unit =
        synchronized(early) {
            log.write(Kind.RUN, opening)
            opened = true
            early.forEach(recorder::event)
        }

    private fun say(name: String): Unit =
        synchronized(early) {
            if (opened) recorder.event(name) else early += name
        }

    private fun fail(notice: Notice): EndReason {
        failures += notice
        log.event("error", notice.text)
        return EndReason.ERROR
    }

    private fun everything() {
        calibrate()
        warmUp()
        idle(Phase.BASELINE, plan.baselineS)
        for (pairing in plan.pairs) {
            runBlock(pairing, 0, pairing.first)
            runBlock(pairing, 1, pairing.first.other())
            idle(Phase.BASELINE, plan.baselineS)
        }
    }

    private fun calibrate() {
        val readings = mutableListOf<Reading>()
        repeat(CALIBRATION_S) {
            idle(Phase.IDLE, 1)
            readings += recorder.newest
        }
        recorder.calibrated(calibrateGauge(readings))
    }

    private fun warmUp() {
        val prompt = plan.promptsOf(plan.pairs.first()).first()
        for (arm in Arm.entries) {
            repeat(plan.warmups) { runTrial(null, arm, prompt, null) }
        }
    }

    private fun runBlock(
        pairing: Pairing,
        order: Int,
        arm: Arm,
    ) {
        val prompts = plan.promptsOf(pairing)
        // Loaded before the cool-down, so that the block does not start with the load's heat.
        engines.engineFor(arm)
        if (plan.warmups > 0 && engines.isFresh) runTrial(null, arm, prompts.first(), null)
        idle(Phase.COOLDOWN, plan.cooldownS)
        val passage = waitAtGate(pairing.pair, arm)
        if (order == 0) log.event("pair", jsonOf("pair" to pairing.pair))
        log.event("block", jsonOf("pair" to pairing.pair, "order" to order, "arm" to arm.word))
        val startNs = time.nowNs()
        var repeat = 0
        do {
            runTrial(Place(pairing.pair, order, repeat), arm, prompts[repeat % prompts.size], passage)
            repeat++
        } while (time.nowNs() - startNs < plan.blockS * 1_000_000_000L)
    }

    private fun runTrial(
        place: Place?,
        arm: Arm,
        prompt: Prompt,
        passage: GatePassage?,
    ) {
        checkpoint()
        while (inBackground) pause(STEP_MS)
        val engine = engines.engineFor(arm)
        tell(place?.pair, arm, emptyList())
        val order = TrialOrder(results.size, place, arm, prompt, engines.drafts(arm), passage, inBackground)
        val result = trials.run(order, engine, results)
        results += result
        engines.ran(result.index, result.cycles.takeIf { order.speculative })
        checkpoint()
        val last = results.takeLast(MAX_FAILURES_IN_A_ROW)
        if (last.size == MAX_FAILURES_IN_A_ROW && last.all { "error" in it.invalidReasons }) throw TooManyFailures()
    }

    private fun waitAtGate(
        pair: Int,
        arm: Arm,
    ): GatePassage {
        val startNs = time.nowNs()
        while (true) {
            val shut = gateReasons(plan.gate, recorder.newest, inBackground)
            val waitedMs = (time.nowNs() - startNs) / 1_000_000
            val timeIsUp = waitedMs >= plan.gate.maxWaitS * 1000L
            if (shut.isEmpty() || timeIsUp) return GatePassage(waitedMs, shut.isEmpty())
            recorder.phase = Phase.COOLDOWN
            tell(pair, arm, shut)
            pause(STEP_MS)
        }
    }

    private fun idle(
        phase: Phase,
        seconds: Int,
    ) {
        if (seconds == 0) return
        recorder.phase = phase
        tell(null, null, emptyList())
        val endNs = time.nowNs() + seconds * 1_000_000_000L
        while (time.nowNs() < endNs) pause(minOf(STEP_MS, (endNs - time.nowNs() + 999_999) / 1_000_000))
        recorder.phase = Phase.IDLE
    }

    private fun pause(ms: Long) {
        checkpoint()
        time.sleepMs(ms)
    }

    private fun checkpoint() {
        recorder.failure?.let { throw it }
        if (stopAsked) throw RunStopped()
    }

    private fun tell(
        pair: Int?,
        arm: Arm?,
        waitingFor: List<GateReason>,
    ): Unit = onProgress(Progress(recorder.phase, pair, arm, results.size, waitingFor))

    private fun summary() = summarize(results, plan.seed, engines.acceptanceRate)

    private fun notices(): List<Notice> = failures + runNotices(results, engines.fallback, recorder.newest)
}

private class RunStopped : RuntimeException()

private class TooManyFailures : RuntimeException("$MAX_FAILURES_IN_A_ROW generations in a row failed")
