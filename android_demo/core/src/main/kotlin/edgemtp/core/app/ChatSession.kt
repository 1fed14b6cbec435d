package edgemtp.core.app

import edgemtp.core.bundle.BundleFacts
import edgemtp.core.device.Time
import edgemtp.core.device.toMs
import edgemtp.core.engine.Engine
import edgemtp.core.engine.EngineFactory
import edgemtp.core.engine.EngineRefused
import edgemtp.core.engine.EngineSettings
import edgemtp.core.engine.GenerationFailed
import edgemtp.core.engine.Reply
import edgemtp.core.engine.Request
import edgemtp.core.plan.Sampler
import edgemtp.core.run.CycleCount
import edgemtp.core.run.Notice
import edgemtp.core.run.RuntimeChoice

private const val CHAT_TOKENS = 512
private const val CHUNKS_TO_JUDGE = 8
private val CHAT_SAMPLER = Sampler(temperature = 0.0, topK = 1, topP = 1.0, seed = 0)

/** An engine for a chat, and what there is to say about how it started. */
class StartedEngine(
    val engine: Engine,
    val canDraft: Boolean,
    val notices: List<Notice>,
)

/** Starts [bundle] with drafting where it has a drafter, and without where it does not start so. */
fun startEngine(
    factory: EngineFactory,
    bundle: BundleFacts,
    choice: RuntimeChoice,
): StartedEngine {
    fun load(speculative: Boolean): Engine =
        factory.load(
            EngineSettings(bundle.path, choice.backend, choice.activation, choice.maxContextTokens, speculative),
        )
    if (!bundle.hasDrafter) return StartedEngine(load(false), false, listOf(Notice.NoDrafter))
    return try {
        StartedEngine(load(true), true, emptyList())
    } catch (error: EngineRefused) {
        StartedEngine(load(false), false, listOf(Notice.FellBack(error.message.orEmpty())))
    }
}

/** A chat with a loaded engine. One [send] at a time, on a thread that may block; [publish] gets every change. */
class ChatSession(
    private val bundle: String,
    private val started: StartedEngine,
    private val time: Time,
    private val publish: (UiState.Chat) -> Unit,
) {
    private val turns = mutableListOf<Turn>()
    private var figures: Figures? = null
    private var failure: Notice? = null
    private var tokensPerCycle = mutableMapOf(false to 1.0)

    @Volatile private var replying = false

    /** The MTP switch; takes effect with the next prompt. Stays off where the engine cannot draft. */
    @Volatile
    var speculative: Boolean = started.canDraft
        private set

    /** Turns drafting on or off. */
    fun switchTo(on: Boolean) {
        speculative = on && started.canDraft
        show()
    }

    /** Sends [prompt] and returns when the reply has come. */
    fun send(prompt: String) {
        val asked = speculative
        val startNs = time.nowNs()
        val arrivalsNs = mutableListOf<Long>()
        turns += Turn(prompt, "")
        replying = true
        failure = null
        show()
        try {
            val request = Request(null, prompt, CHAT_TOKENS, CHAT_SAMPLER, asked)
            val reply =
                started.engine.generate(request) { piece ->
                    arrivalsNs += time.nowNs()
                    turns[turns.size - 1] = Turn(prompt, turns.last().reply + piece)
                    figures = liveFigures(arrivalsNs, startNs, tokensPerCycle[asked])
                    show()
                }
            finish(reply, arrivalsNs, startNs, asked)
        } catch (error: GenerationFailed) {
            failure = Notice.GenerationFailed(error.message.orEmpty())
        } catch (_: OutOfMemoryError) {
            failure = Notice.OutOfMemory
        }
        replying = false
        show()
    }

    /** Ends the reply that is coming. */
    fun cancel(): Unit = started.engine.cancel()

    /** Unloads the engine. */
    fun close() {
        started.engine.close()
    }

    /** Publishes the present state. */
    fun show() {
        val notices = started.notices + listOfNotNull(failure)
        publish(UiState.Chat(bundle, started.canDraft, speculative, turns.toList(), replying, figures, notices))
    }

    private fun finish(
        reply: Reply,
        arrivalsNs: List<Long>,
        startNs: Long,
        asked: Boolean,
    ) {
        val live = liveFigures(arrivalsNs, startNs, null)
        val cycles = reply.outputTokens?.let { CycleCount(it.toLong(), arrivalsNs.size.toLong()) }
        cycles?.tokensPerCycle?.let { tokensPerCycle[asked] = it }
        figures =
            live.copy(tokensPerSecond = reply.decodeTps, tokensPerCycle = cycles?.tokensPerCycle, final = true)
        if (asked && cycles != null && cycles.chunks >= CHUNKS_TO_JUDGE && !cycles.showsDrafting()) {
            failure = cycles.tokensPerCycle?.let(Notice::NotDrafting)
        }
    }
}

/** Figures while a reply is coming: [arrivalsNs] of its pieces, and [tokensPerCycle] of the last such reply. */
internal fun liveFigures(
    arrivalsNs: List<Long>,
    startNs: Long,
    tokensPerCycle: Double?,
): Figures {
    val spanS = if (arrivalsNs.size < 2) 0.0 else (arrivalsNs.last() - arrivalsNs.first()) / 1e9
    val cycles = if (spanS > 0) (arrivalsNs.size - 1) / spanS else null
    val tokens = if (cycles != null && tokensPerCycle != null) cycles * tokensPerCycle else null
    return Figures(cycles, tokens, tokensPerCycle, arrivalsNs.firstOrNull()?.let { toMs(it - startNs) }, false)
}
