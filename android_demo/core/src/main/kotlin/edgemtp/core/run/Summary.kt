package edgemtp.core.run

import edgemtp.core.json.JsonObject
import edgemtp.core.json.jsonOf
import edgemtp.core.plan.Arm

/** What a trial wrote, for the comparison with the other arm; [cut]: its budget of tokens ended it. */
data class WrittenText(
    val text: String,
    val cut: Boolean,
) {
    /**
     * Whether both say the same. With MTP on LiteRT-LM writes its last round to the end, past the budget, so a text
     * that was cut equals one that goes on.
     */
    fun equalsText(other: WrittenText): Boolean =
        text == other.text || (cut && other.text.startsWith(text)) || (other.cut && text.startsWith(other.text))
}

/** A trial as the summary needs it. */
data class TrialResult(
    val index: Int,
    val pair: Int?,
    val order: Int?,
    val repeat: Int?,
    val arm: Arm,
    val warmup: Boolean,
    val cycles: CycleCount,
    val decodeTps: Double?,
    /** Null where the generation failed. */
    val written: WrittenText?,
    val invalidReasons: List<String>,
) {
    /** Whether it counts. */
    val valid: Boolean get() = invalidReasons.isEmpty()
}

/** Drafting against none: the geometric mean of [pairs] ratios on ÷ off, and its 95 % interval [low] to [high]. */
data class SpeedUp(
    val value: Double,
    val low: Double?,
    val high: Double?,
    val pairs: Int,
)

/** The speed-up by the valid [trials], paired; null where no pair is complete. [seed] draws the interval. */
fun speedUp(
    trials: List<TrialResult>,
    seed: Long,
): SpeedUp? {
    val ratios =
        counted(trials)
            .groupBy { it.pair }
            .toSortedMap(compareBy { it })
            .values
            .mapNotNull(::pairRatio)
    if (ratios.isEmpty()) return null
    val interval = bootstrapInterval(ratios, seed)
    return SpeedUp(geometricMean(ratios), interval?.start, interval?.endInclusive, ratios.size)
}

private fun pairRatio(trials: List<TrialResult>): Double? {
    val off = median(rates(trials, Arm.SPEC_OFF)) ?: return null
    val on = median(rates(trials, Arm.SPEC_ON)) ?: return null
    return on / off
}

private fun counted(trials: List<TrialResult>): List<TrialResult> = trials.filter { it.valid && !it.warmup }

private fun rates(
    trials: List<TrialResult>,
    arm: Arm,
): List<Double> = trials.filter { it.arm == arm }.mapNotNull { it.decodeTps }.filter { it > 0 }

/** The log's `summary`: a look at the run without tools. [acceptanceRate] is the runtime's own, where it gave one. */
fun summarize(
    trials: List<TrialResult>,
    seed: Long,
    acceptanceRate: Double?,
): JsonObject =
    jsonOf(
        "spec_off" to armSummary(counted(trials), Arm.SPEC_OFF),
        "spec_on" to armSummary(counted(trials), Arm.SPEC_ON),
        "speed_up" to
            speedUp(trials, seed)?.let {
                jsonOf("value" to it.value, "low" to it.low, "high" to it.high, "pairs" to it.pairs)
            },
        "acceptance_rate" to acceptanceRate,
    )

private fun armSummary(
    trials: List<TrialResult>,
    arm: Arm,
): JsonObject = jsonOf("trials" to trials.count { it.arm == arm }, "decode_tps" to median(rates(trials, arm)))
