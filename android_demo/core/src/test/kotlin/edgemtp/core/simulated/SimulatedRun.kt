package edgemtp.core.simulated

import edgemtp.core.bundle.BundleFacts
import edgemtp.core.engine.Backend
import edgemtp.core.engine.Switching
import edgemtp.core.json.JsonObject
import edgemtp.core.json.JsonText
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.log.LineSink
import edgemtp.core.plan.GateLimits
import edgemtp.core.plan.Plan
import edgemtp.core.plan.Prompt
import edgemtp.core.plan.Sampler
import edgemtp.core.plan.makePairs
import edgemtp.core.plan.promptSetSha256
import edgemtp.core.plan.sha256
import edgemtp.core.run.Progress
import edgemtp.core.run.RunMachine
import edgemtp.core.run.RunOutcome
import edgemtp.core.run.RunSpec
import edgemtp.core.run.RuntimeChoice
import edgemtp.core.run.Setting

const val RUN: String = "0f9d3c52-0000-4000-8000-00000000000a"
const val WALL_TIME: String = "2026-03-01T09:00:00.000+01:00"

val PROMPTS: List<Prompt> =
    listOf(
        Prompt("chat-1", "chat", "Why is the sky blue?", null),
        Prompt("code-1", "code", "Sort a list.", "Answer in Python."),
        Prompt("chat-2", "chat", "Who wrote Faust?", null),
    )

val GATE: GateLimits = GateLimits(0, 0.2, unplugged = true, lowPowerOff = true, maxWaitS = 120)

fun planOf(
    pairs: Int = 2,
    blockS: Int = 0,
    baselineS: Int = 0,
    cooldownS: Int = 0,
    warmups: Int = 1,
    maxOutputTokens: Int = 40,
    gate: GateLimits = GATE,
): Plan =
    Plan(
        seed = 1234567,
        warmups = warmups,
        blockS = blockS,
        baselineS = baselineS,
        cooldownS = cooldownS,
        maxOutputTokens = maxOutputTokens,
        sampler = Sampler(1.0, 1, 1.0, 0),
        promptSet = "simulated",
        promptSetSha256 = promptSetSha256(PROMPTS),
        gate = gate,
        prompts = PROMPTS,
        pairs = makePairs(1234567, PROMPTS.map { it.id }, pairs, blockS),
    )

fun bundleOf(hasDrafter: Boolean = true): BundleFacts =
    BundleFacts("/bundles/e2b.litertlm", "e2b.litertlm", 2_590_000_000, sha256("b"), hasDrafter, 3, sha256("m"))

/** Lines in memory. */
class MemorySink : LineSink {
    val lines = mutableListOf<String>()
    var durable = 0
    var closed = false

    override fun append(
        line: String,
        durable: Boolean,
    ) {
        lines += line
        if (durable) this.durable++
    }

    override fun close() {
        closed = true
    }
}

/** A run on a simulated phone, its log in memory. */
class SimulatedRun(
    val plan: Plan = planOf(),
    behaviour: Behaviour = Behaviour(),
    val time: SimulatedTime = SimulatedTime(),
    val phone: SimulatedPhone = SimulatedPhone(time),
    switching: Switching = Switching.CONVERSATION,
    hasDrafter: Boolean = true,
    sink: LineSink? = null,
) {
    val engines = SimulatedEngines(time, phone, behaviour)
    val memory = MemorySink()
    val progress = mutableListOf<Progress>()
    val spec =
        RunSpec(
            RUN,
            WALL_TIME,
            plan,
            bundleOf(hasDrafter),
            RuntimeChoice(Backend.GPU, switching = switching),
            Setting(ambientC = 21.5, brightness = 0.1, airplane = true, plugged = false, note = "simulated"),
            FACTS,
        )
    val machine = RunMachine(spec, engines, phone, time, sink ?: memory) { progress += it }

    fun run(): RunOutcome = machine.run()

    /** Records of [kind] in the log. */
    fun records(kind: String): List<JsonObject> = memory.lines.map(::readJsonObject).filter { it.text("kind") == kind }

    fun events(name: String): List<JsonObject> = records("event").filter { it["name"] == JsonText(name) }
}
