package edgemtp.core.plan

import edgemtp.core.json.FormatException
import edgemtp.core.json.JsonObject
import edgemtp.core.json.JsonText
import edgemtp.core.json.boolean
import edgemtp.core.json.integer
import edgemtp.core.json.number
import edgemtp.core.json.objectAt
import edgemtp.core.json.objects
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.json.texts

private const val MAX_SEED = 1L shl 53

/** The plan in [text]; [FormatException] saying what is wrong with it. Fields that are not known are passed over. */
fun readPlan(text: String): Plan {
    val found = readJsonObject(text)
    check(found["format"] == JsonText("edge_mtp.plan")) { "this is not a plan: \"format\" is not \"edge_mtp.plan\"" }
    check(found.integer("v") == 1L) { "the plan has version ${found.integer("v")}, this app reads 1; update the app" }
    check(found.text("design") == "abba") { "the design is \"${found.text("design")}\", this app knows \"abba\"" }
    return plan(found).also(::checkPlan)
}

private fun plan(found: JsonObject): Plan =
    Plan(
        seed = found.integer("seed"),
        warmups = found.count("warmups"),
        blockS = found.count("block_s"),
        baselineS = found.count("baseline_s"),
        cooldownS = found.count("cooldown_s"),
        maxOutputTokens = found.count("max_output_tokens"),
        sampler = sampler(found.objectAt("sampler")),
        promptSet = found.text("prompt_set"),
        promptSetSha256 = found.text("prompt_set_sha256"),
        gate = gate(found.objectAt("gate")),
        prompts = found.objects("prompts").map(::prompt),
        pairs = found.objects("pairs").map(::pairing),
    )

private fun sampler(found: JsonObject): Sampler =
    Sampler(found.number("temperature"), found.count("top_k"), found.number("top_p"), found.count("seed"))

private fun gate(found: JsonObject): GateLimits =
    GateLimits(
        maxThermal = found.count("max_thermal"),
        minBatteryLevel = found.number("min_battery_level"),
        unplugged = found.boolean("unplugged"),
        lowPowerOff = found.boolean("low_power_off"),
        maxWaitS = found.count("max_wait_s"),
    )

private fun prompt(found: JsonObject): Prompt {
    val system = if (found["system"] == null) null else found.text("system")
    return Prompt(found.text("id"), found.text("prompt_class"), found.text("text"), system)
}

private fun pairing(found: JsonObject): Pairing {
    val first = Arm.entries.firstOrNull { it.word == found.text("first") }
    check(first != null) { "\"first\" is \"${found.text("first")}\", expected spec_off or spec_on" }
    return Pairing(found.count("pair"), first, found.texts("prompts"))
}

private fun checkPlan(plan: Plan) {
    val ids = plan.prompts.map { it.id }.toSet()
    check(plan.seed in 0 until MAX_SEED) { "the seed is ${plan.seed}, expected 0 to 2^53 - 1" }
    check(ids.size == plan.prompts.size) { "two prompts have the same id; ids must differ" }
    check(plan.pairs.isNotEmpty()) { "the plan has no pairs" }
    check(plan.maxOutputTokens > 0) { "\"max_output_tokens\" is 0, expected at least 1" }
    plan.pairs.forEachIndexed { index, pairing ->
        check(pairing.pair == index) { "pair ${pairing.pair} stands at place $index; pairs count 0, 1, 2 …" }
        check(pairing.prompts.isNotEmpty()) { "pair $index has no prompt" }
        val unknown = pairing.prompts.filter { it !in ids }
        check(unknown.isEmpty()) { "pair $index names ${unknown.joinToString()}, which is not among the prompts" }
    }
    val digest = promptSetSha256(plan.prompts)
    check(digest == plan.promptSetSha256) {
        "the prompts were changed: their sha256 is $digest, the plan says ${plan.promptSetSha256}; make the plan again"
    }
}

private fun JsonObject.count(key: String): Int {
    val value = integer(key)
    check(value in 0..Int.MAX_VALUE) { "\"$key\" is $value, expected 0 to ${Int.MAX_VALUE}" }
    return value.toInt()
}

@OptIn(kotlin.contracts.ExperimentalContracts::class)
private inline fun check(
    holds: Boolean,
    message: () -> String,
) {
    kotlin.contracts.contract { returns() implies holds }
    if (!holds) throw FormatException(message())
}
