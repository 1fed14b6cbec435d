package edgemtp.core.run

import edgemtp.core.plan.Plan

/** Tokens a cycle under this, with drafting asked for, mean that the runtime did not draft. */
const val DRAFTING_TOKENS_PER_CYCLE: Double = 1.05

/** Share of a trial above nominal heat from which on it does not count. */
private const val HOT_FRACTION = 0.5

/** What a trial is judged by. */
data class Evidence(
    val failed: Boolean,
    val cancelled: Boolean,
    val fellBack: Boolean,
    /** Tokens and chunks of the arm's block so far, this trial with it; null where drafting was not asked for. */
    val drafted: CycleCount?,
    val gatePassed: Boolean,
    val conditions: Conditions,
)

/** Tokens over draft-and-verify cycles. */
data class CycleCount(
    val tokens: Long,
    val chunks: Long,
) {
    /** Tokens a cycle: about 1 without drafting, the mean acceptance length with it. Null before the first chunk. */
    val tokensPerCycle: Double? get() = if (chunks == 0L) null else tokens.toDouble() / chunks

    /** This and [other] together. */
    operator fun plus(other: CycleCount): CycleCount = CycleCount(tokens + other.tokens, chunks + other.chunks)

    /** False where there are so few tokens a cycle that nothing can have been drafted. */
    fun showsDrafting(): Boolean = tokensPerCycle.let { it == null || it >= DRAFTING_TOKENS_PER_CYCLE }
}

/** Why a trial of [plan] does not count, in the log's words and order; empty: it counts. */
fun invalidReasons(
    plan: Plan,
    evidence: Evidence,
): List<String> {
    val seen = evidence.conditions
    val hot = seen.nonNominalFraction.let { it != null && it > HOT_FRACTION }
    val low = seen.lowestLevel.let { it != null && it < plan.gate.minBatteryLevel }
    return listOfNotNull(
        "error".takeIf { evidence.failed },
        "cancelled".takeIf { evidence.cancelled },
        "background".takeIf { seen.background },
        "not_drafting".takeIf { evidence.drafted?.showsDrafting() == false },
        "fallback".takeIf { evidence.fellBack },
        "charging".takeIf { seen.charging },
        "low_power".takeIf { seen.lowPower },
        "thermal".takeIf { hot && !plan.sustained },
        "battery_low".takeIf { low },
        "gate_timeout".takeIf { !evidence.gatePassed },
    )
}
