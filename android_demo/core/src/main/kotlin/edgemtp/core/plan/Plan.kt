package edgemtp.core.plan

import edgemtp.core.json.JsonObject
import edgemtp.core.json.jsonOf

/** Blocks at least this long make a plan a sustained one: its trials may run hot. */
const val SUSTAINED_BLOCK_S: Int = 300

/** With drafting or without. */
enum class Arm(
    val word: String,
) {
    /** Plain decoding. */
    SPEC_OFF("spec_off"),

    /** Decoding with the bundle's drafter. */
    SPEC_ON("spec_on"),
    ;

    /** The other one. */
    fun other(): Arm = if (this == SPEC_OFF) SPEC_ON else SPEC_OFF
}

/** How tokens are chosen; greedy is [topK] 1. */
data class Sampler(
    val temperature: Double,
    val topK: Int,
    val topP: Double,
    val seed: Int,
)

/** What must hold before a block starts. Levels 0 to 1, thermal 0 to 3; it is waited for at most [maxWaitS] seconds. */
data class GateLimits(
    val maxThermal: Int,
    val minBatteryLevel: Double,
    val unplugged: Boolean,
    val lowPowerOff: Boolean,
    val maxWaitS: Int,
)

/** A prompt of the plan's set. */
data class Prompt(
    val id: String,
    val promptClass: String,
    val text: String,
    val system: String?,
)

/** Two blocks of the same [prompts] (by id), one an arm. */
data class Pairing(
    val pair: Int,
    val first: Arm,
    val prompts: List<String>,
)

/** Everything that an unattended run does, as `edge-mtp device plan` writes it. */
data class Plan(
    val seed: Long,
    val warmups: Int,
    val blockS: Int,
    val baselineS: Int,
    val cooldownS: Int,
    val maxOutputTokens: Int,
    val sampler: Sampler,
    val promptSet: String,
    val promptSetSha256: String,
    val gate: GateLimits,
    val prompts: List<Prompt>,
    val pairs: List<Pairing>,
) {
    /** Whether trials may run hot: blocks are long on purpose. */
    val sustained: Boolean get() = blockS >= SUSTAINED_BLOCK_S

    /** Prompts of [pairing] in its order. */
    fun promptsOf(pairing: Pairing): List<Prompt> = pairing.prompts.map { id -> prompts.first { it.id == id } }

    /** What the log's `run` record says of this plan. */
    fun summary(): JsonObject =
        jsonOf(
            "design" to "abba",
            "seed" to seed,
            "pair_count" to pairs.size,
            "warmups" to warmups,
            "block_s" to blockS,
            "baseline_s" to baselineS,
            "cooldown_s" to cooldownS,
            "max_output_tokens" to maxOutputTokens,
            "sampler" to sampler.toJson(),
            "prompt_set" to promptSet,
            "prompt_set_sha256" to promptSetSha256,
            "gate" to gate.toJson(),
        )
}

/** As the plan file has it. */
fun Sampler.toJson(): JsonObject =
    jsonOf(
        "temperature" to temperature,
        "top_k" to topK,
        "top_p" to topP,
        "seed" to seed,
    )

/** As the plan file has it. */
fun GateLimits.toJson(): JsonObject =
    jsonOf(
        "max_thermal" to maxThermal,
        "min_battery_level" to minBatteryLevel,
        "unplugged" to unplugged,
        "low_power_off" to lowPowerOff,
        "max_wait_s" to maxWaitS,
    )
