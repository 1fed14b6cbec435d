package edgemtp.core.simulated

import edgemtp.core.engine.Engine
import edgemtp.core.engine.EngineFactory
import edgemtp.core.engine.EngineRefused
import edgemtp.core.engine.EngineSettings
import edgemtp.core.engine.GenerationFailed
import edgemtp.core.engine.Reply
import edgemtp.core.engine.Request

/** How a simulated runtime behaves, and misbehaves. */
data class Behaviour(
    val drafts: Boolean = true,
    val refusesDrafting: Boolean = false,
    val refusesAll: Boolean = false,
    val outOfMemoryAtLoad: Boolean = false,
    /** From this generation on, counted from 0, memory runs out. */
    val outOfMemoryFrom: Int = Int.MAX_VALUE,
    /** From this generation on every one fails. */
    val failsFrom: Int = Int.MAX_VALUE,
    val logsRate: String? = "MTP Drafter - Success rate: 0.48",
    val replyTokens: Int = 10_000,
    /** Tokens that differ between the arms: the lossless check must see it. */
    val lossy: Boolean = false,
)

class SimulatedEngines(
    private val time: SimulatedTime,
    private val phone: SimulatedPhone,
    private val behaviour: Behaviour = Behaviour(),
) : EngineFactory {
    override val name: String = "LiteRT-LM"
    override val version: String = "0.18.0"
    val loads = mutableListOf<EngineSettings>()
    var generations = 0
    var open = 0

    override fun cacheIsWarm(bundlePath: String): Boolean = loads.isNotEmpty()

    override fun load(settings: EngineSettings): Engine {
        loads += settings
        if (behaviour.refusesAll) throw EngineRefused("TF_LITE_PREFILL_DECODE not found")
        if (behaviour.refusesDrafting && settings.speculative) throw EngineRefused("TF_LITE_MTP_DRAFTER not found")
        if (behaviour.outOfMemoryAtLoad) throw OutOfMemoryError("mmap failed")
        time.sleepMs(2400)
        open++
        return SimulatedEngine(settings)
    }

    private inner class SimulatedEngine(
        private val settings: EngineSettings,
    ) : Engine {
        private var cancelled = false

        override fun generate(
            request: Request,
            onChunk: (String) -> Unit,
        ): Reply {
            val number = generations++
            phone.busy = true
            try {
                return speak(request, number, onChunk)
            } finally {
                phone.busy = false
            }
        }

        private fun speak(
            request: Request,
            number: Int,
            onChunk: (String) -> Unit,
        ): Reply {
            cancelled = false
            time.sleepMs(500)
            if (number >= behaviour.failsFrom) throw GenerationFailed("INTERNAL: sampler failed")
            if (number >= behaviour.outOfMemoryFrom) throw OutOfMemoryError("allocation failed")
            val drafting = request.speculative && settings.speculative && behaviour.drafts
            val wanted = minOf(request.maxOutputTokens, behaviour.replyTokens)
            val startNs = time.nowNs()
            var tokens = 0
            while (tokens < wanted && !cancelled) {
                val step = minOf(if (drafting) 2 else 1, wanted - tokens)
                time.sleepMs(((if (drafting) 130 else 100) * phone.slowness()).toLong())
                onChunk(List(step) { word(tokens + it, drafting) }.joinToString(""))
                tokens += step
            }
            val seconds = (time.nowNs() - startNs) / 1e9
            return Reply(12, tokens, 24.0, tokens / seconds, cancelled)
        }

        private fun word(
            place: Int,
            drafting: Boolean,
        ): String = if (behaviour.lossy && drafting && place == 3) "other " else "w$place "

        override fun cancel() {
            cancelled = true
        }

        override fun close(): List<String> {
            open--
            return listOfNotNull("I0000 engine deleted", behaviour.logsRate.takeIf { settings.speculative })
        }
    }
}
