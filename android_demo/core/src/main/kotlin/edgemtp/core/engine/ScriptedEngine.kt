package edgemtp.core.engine

import edgemtp.core.device.Time

/** Tempo of a [ScriptedEngine]. */
data class Script(
    val words: List<String>,
    val loadMs: Long = 500,
    val prefillMs: Long = 120,
    val cycleMs: Long = 40,
    val draftedCycleMs: Long = 60,
    val tokensPerDraftedCycle: Int = 2,
)

/**
 * Plays a text as if a model wrote it, so that logger, plan, gate and files can be tried without one. It computes
 * nothing: the log says backend `scripted`, and its figures are nobody's.
 */
class ScriptedEngineFactory(
    private val time: Time,
    private val script: Script = Script(DEFAULT_WORDS),
) : EngineFactory {
    override val name: String = "scripted"
    override val version: String = "1"

    override fun cacheIsWarm(bundlePath: String): Boolean = true

    override fun load(settings: EngineSettings): Engine {
        time.sleepMs(script.loadMs)
        return ScriptedEngine(time, script)
    }
}

private class ScriptedEngine(
    private val time: Time,
    private val script: Script,
) : Engine {
    @Volatile private var cancelled = false

    override fun generate(
        request: Request,
        onChunk: (String) -> Unit,
    ): Reply {
        cancelled = false
        val step = if (request.speculative) script.tokensPerDraftedCycle else 1
        val cycleMs = if (request.speculative) script.draftedCycleMs else script.cycleMs
        time.sleepMs(script.prefillMs)
        var written = 0
        while (written < request.maxOutputTokens && !cancelled) {
            val tokens = minOf(step, request.maxOutputTokens - written)
            onChunk(List(tokens) { script.words[(written + it) % script.words.size] + " " }.joinToString(""))
            written += tokens
            time.sleepMs(cycleMs)
        }
        return reply(request, written, step * 1000.0 / cycleMs)
    }

    private fun reply(
        request: Request,
        written: Int,
        decodeTps: Double,
    ): Reply {
        val inputTokens = request.prompt.split(' ').size
        return Reply(inputTokens, written, inputTokens * 1000.0 / script.prefillMs, decodeTps, cancelled)
    }

    override fun cancel() {
        cancelled = true
    }

    override fun close(): List<String> = emptyList()
}

private val DEFAULT_WORDS: List<String> =
    ("This text is played by a script, not written by a model. It shows that the app's log, plan, gate and files work.")
        .split(
            ' ',
        )
