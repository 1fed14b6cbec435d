package edgemtp.core.plan

private const val PAIRS = 4
private const val OUTPUT_TOKENS = 128

private val PROMPTS =
    listOf(
        Prompt("built-in-chat", "chat", "Explain to a curious twelve-year-old why the sky is blue.", null),
        Prompt("built-in-code", "code", "Write a Python function that merges two sorted lists.", null),
        Prompt("built-in-facts", "facts", "List the planets of the solar system with one fact about each.", null),
        Prompt("built-in-json", "json", "Give three invented users as a JSON list with name, age and city.", null),
    )

/**
 * A short look at whether MTP pays on this phone, for when no plan was pushed: four pairs of single replies, some five
 * minutes. Too short for energy; `edge-mtp device plan` makes longer ones.
 */
fun builtInPlan(seed: Long): Plan =
    Plan(
        seed = seed,
        warmups = 1,
        blockS = 0,
        baselineS = 0,
        cooldownS = 10,
        maxOutputTokens = OUTPUT_TOKENS,
        sampler = Sampler(temperature = 0.0, topK = 1, topP = 1.0, seed = 0),
        promptSet = "built-in",
        promptSetSha256 = promptSetSha256(PROMPTS),
        gate = GateLimits(maxThermal = 0, minBatteryLevel = 0.2, unplugged = true, lowPowerOff = true, maxWaitS = 300),
        prompts = PROMPTS,
        pairs = makePairs(seed, PROMPTS.map { it.id }, PAIRS, 0),
    )
