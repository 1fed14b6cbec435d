package edgemtp.core.run

import edgemtp.core.device.Time
import edgemtp.core.engine.Engine
import edgemtp.core.engine.GenerationFailed
import edgemtp.core.engine.Reply
import edgemtp.core.engine.Request
import edgemtp.core.json.jsonOf
import edgemtp.core.log.Kind
import edgemtp.core.log.LogWriter
import edgemtp.core.log.Phase
import edgemtp.core.plan.Arm
import edgemtp.core.plan.Plan
import edgemtp.core.plan.Prompt

/** One generation of a run. */
data class TrialOrder(
    val index: Int,
    val place: Place?,
    val arm: Arm,
    val prompt: Prompt,
    /** Whether drafting is asked for; false on an arm with drafting means that the run fell back. */
    val speculative: Boolean,
    val passage: GatePassage?,
    /** Whether the app is not on the screen as the trial begins. */
    val inBackground: Boolean,
)

/** Where in the plan a trial stands; warm-ups stand nowhere. [order] is the block's place in its pair. */
data class Place(
    val pair: Int,
    val order: Int,
    val repeat: Int,
)

/** Runs trials one by one, judges them and writes them down. */
class TrialRunner(
    private val plan: Plan,
    private val log: LogWriter,
    private val recorder: Recorder,
    private val time: Time,
) {
    /** The trial that is running, for what happens from outside meanwhile. */
    @Volatile
    var running: TrialWatch? = null
        private set

    /** Runs [order] on [engine]; [earlier] are the trials before it. */
    fun run(
        order: TrialOrder,
        engine: Engine,
        earlier: List<TrialResult>,
    ): TrialResult {
        recorder.sample()
        val startNs = time.nowNs()
        val watch = TrialWatch(order.index, startNs, recorder.newest)
        watch.background = order.inBackground
        running = watch
        recorder.watchTrial(watch)
        val outcome = generate(order, engine, TrialMeter(time::nowNs, startNs))
        recorder.sample()
        recorder.watchTrial(null)
        recorder.phase = Phase.IDLE
        running = null
        val result = judge(order, outcome, watch.conditions(), earlier)
        write(order, outcome, watch.conditions(), result, log.runMs(startNs), earlier)
        return result
    }

    private fun generate(
        order: TrialOrder,
        engine: Engine,
        meter: TrialMeter,
    ): Outcome {
        recorder.phase = Phase.PREFILL
        val request =
            Request(order.prompt.system, order.prompt.text, plan.maxOutputTokens, plan.sampler, order.speculative)
        return try {
            val reply = engine.generate(request) { if (meter.chunk(it)) recorder.phase = Phase.DECODE }
            Outcome(meter.finish(), reply, null)
        } catch (error: GenerationFailed) {
            Outcome(meter.finish(), null, error.message.orEmpty().ifEmpty { "the runtime gave no reason" })
        }
    }

    private fun judge(
        order: TrialOrder,
        outcome: Outcome,
        conditions: Conditions,
        earlier: List<TrialResult>,
    ): TrialResult {
        val cycles = CycleCount((outcome.reply?.outputTokens ?: 0).toLong(), outcome.timing.chunks.toLong())
        val block = earlier.filter { it.isOfBlock(order) }.map { it.cycles }.fold(cycles, CycleCount::plus)
        val evidence =
            Evidence(
                failed = outcome.error != null,
                cancelled = outcome.reply?.cancelled == true,
                fellBack = order.arm == Arm.SPEC_ON && !order.speculative,
                drafted = block.takeIf { order.arm == Arm.SPEC_ON && outcome.reply?.outputTokens != null },
                gatePassed = order.passage?.passed != false,
                conditions = conditions,
            )
        return TrialResult(
            index = order.index,
            pair = order.place?.pair,
            order = order.place?.order,
            repeat = order.place?.repeat,
            arm = order.arm,
            warmup = order.place == null,
            cycles = cycles,
            decodeTps = outcome.reply?.decodeTps,
            written = outcome.written(plan.maxOutputTokens),
            invalidReasons = invalidReasons(plan, evidence),
        )
    }

    private fun TrialResult.isOfBlock(trial: TrialOrder): Boolean =
        pair == trial.place?.pair && order == trial.place?.order && arm == trial.arm && !warmup

    private fun write(
        order: TrialOrder,
        outcome: Outcome,
        seen: Conditions,
        result: TrialResult,
        startMs: Long,
        earlier: List<TrialResult>,
    ) {
        val reply = outcome.reply
        val timing = outcome.timing
        log.write(
            Kind.TRIAL,
            jsonOf(
                "index" to order.index,
                "pair" to order.place?.pair,
                "order" to order.place?.order,
                "repeat" to order.place?.repeat,
                "arm" to order.arm.word,
                "prompt" to order.prompt.id,
                "prompt_class" to order.prompt.promptClass,
                "warmup" to result.warmup,
                "start_t_ms" to startMs,
                "input_tokens" to reply?.inputTokens,
                "output_tokens" to reply?.outputTokens,
                "chunks" to timing.chunks,
                "finish_reason" to outcome.finishReason(plan.maxOutputTokens),
                "ttft_ms" to timing.ttftMs,
                "decode_ms" to timing.decodeMs,
                "prefill_tps" to reply?.prefillTps,
                "decode_tps" to reply?.decodeTps,
                "wall_ms" to timing.wallMs,
                "itl_ms" to timing.gaps(),
                "output_sha256" to result.written?.let { timing.sha256 },
                "output_equals_pair" to equalsPair(result, earlier),
                "battery_level_start" to seen.levelStart,
                "battery_level_end" to seen.levelEnd,
                "thermal_start" to seen.thermalStart,
                "thermal_end" to seen.thermalEnd,
                "non_nominal_fraction" to seen.nonNominalFraction,
                "mem_peak_bytes" to seen.memPeakBytes,
                "gate_wait_ms" to order.passage?.waitMs,
                "gate_passed" to order.passage?.passed,
                "valid" to result.valid,
                "invalid_reasons" to result.invalidReasons,
                "error" to outcome.error,
            ),
        )
    }

    private fun equalsPair(
        result: TrialResult,
        earlier: List<TrialResult>,
    ): Boolean? {
        if (result.order != 1 || result.written == null) return null
        val twin = earlier.firstOrNull { it.pair == result.pair && it.order == 0 && it.repeat == result.repeat }
        return twin?.written?.equalsText(result.written)
    }
}

private class Outcome(
    val timing: Timing,
    val reply: Reply?,
    val error: String?,
) {
    fun finishReason(maxOutputTokens: Int): String =
        when {
            error != null -> "error"
            reply?.cancelled == true -> "cancelled"
            (reply?.outputTokens ?: 0) >= maxOutputTokens -> "length"
            else -> "stop"
        }

    fun written(maxOutputTokens: Int): WrittenText? =
        if (error == null) WrittenText(timing.text, finishReason(maxOutputTokens) == "length") else null
}
