package edgemtp.core.run

import edgemtp.core.device.Time
import edgemtp.core.device.toMs
import edgemtp.core.engine.Engine
import edgemtp.core.engine.EngineFactory
import edgemtp.core.engine.EngineRefused
import edgemtp.core.engine.Switching
import edgemtp.core.engine.successRate
import edgemtp.core.json.jsonOf
import edgemtp.core.log.Kind
import edgemtp.core.log.LogWriter
import edgemtp.core.log.Phase
import edgemtp.core.plan.Arm

/** Loads and unloads a run's engines and logs their lives; goes on without drafting where none starts with it. */
class EngineKeeper(
    private val factory: EngineFactory,
    private val spec: RunSpec,
    private val log: LogWriter,
    private val recorder: Recorder,
    private val time: Time,
) {
    private var life: EngineLife? = null
    private var lives = 0

    /** Why the run goes on without drafting, null while it does not. */
    var fallback: String? = null
        private set

    /** The runtime's last success rate, null where it gave none. */
    var acceptanceRate: Double? = null
        private set

    /** Whether an engine is loaded that has not answered yet. */
    val isFresh: Boolean get() = life?.trials?.isEmpty() == true

    /** The loaded engine, for a cancel from another thread. */
    @Volatile
    var loaded: Engine? = null
        private set

    /** Whether trials of [arm] draft. */
    fun drafts(arm: Arm): Boolean = arm == Arm.SPEC_ON && fallback == null

    /** The engine that trials of [arm] run on; loads it where it is not there. [EngineRefused] where none starts. */
    fun engineFor(arm: Arm): Engine {
        if (!spec.bundle.hasDrafter) fallBack("the bundle has no drafter")
        val own = spec.choice.switching == Switching.ENGINE
        val speculative = if (own) drafts(arm) else fallback == null
        if (life?.speculative == speculative) return checkNotNull(life).engine
        unload()
        return load(asked = !own || arm == Arm.SPEC_ON, speculative).engine
    }

    /** Notes that trial [index] ran on the loaded engine; [cycles] of those that asked for drafting, null of others. */
    fun ran(
        index: Int,
        cycles: CycleCount?,
    ) {
        life?.let {
            it.trials += index
            if (cycles != null) it.drafted = it.drafted?.plus(cycles) ?: cycles
        }
    }

    /** Unloads the engine, if one is loaded, and logs its life. */
    fun unload() {
        val ended = life ?: return
        life = null
        loaded = null
        val rate = successRate(ended.engine.close()).takeIf { ended.speculative }
        acceptanceRate = rate ?: acceptanceRate
        log.write(
            Kind.ENGINE,
            jsonOf(
                "index" to ended.index,
                "speculative" to ended.asked,
                "trials" to ended.trials.toList(),
                "load_ms" to ended.loadMs,
                "load_mem_bytes" to ended.loadMemBytes,
                "acceptance_rate" to rate,
                "acceptance_source" to if (rate == null) "none" else "runtime_log",
                "drafting" to ended.drafting(),
            ),
        )
    }

    /** Unloads the engine without a word in the log, which can no longer be written. */
    fun abandon() {
        loaded?.close()
        loaded = null
        life = null
    }

    private fun load(
        asked: Boolean,
        speculative: Boolean,
    ): EngineLife {
        recorder.phase = Phase.LOAD
        recorder.sample()
        val memoryBefore = recorder.newest.memFootprintBytes
        val startNs = time.nowNs()
        val (engine, drafting) = start(speculative)
        val loadMs = toMs(time.nowNs() - startNs)
        recorder.sample()
        recorder.phase = Phase.IDLE
        val memoryAfter = recorder.newest.memFootprintBytes
        val grown = if (memoryBefore == null || memoryAfter == null) null else maxOf(0, memoryAfter - memoryBefore)
        loaded = engine
        return EngineLife(lives++, engine, asked, drafting, loadMs, grown).also { life = it }
    }

    private fun start(speculative: Boolean): Pair<Engine, Boolean> =
        try {
            factory.load(spec.engineSettings(speculative)) to speculative
        } catch (error: EngineRefused) {
            if (!speculative) throw error
            fallBack(error.message.orEmpty().ifEmpty { "the runtime gave no reason" })
            factory.load(spec.engineSettings(false)) to false
        }

    private fun fallBack(reason: String) {
        if (fallback != null) return
        fallback = reason
        log.event("fallback", reason)
    }
}

private class EngineLife(
    val index: Int,
    val engine: Engine,
    /** Whether drafting was wanted of it; [speculative] is whether it started with it. */
    val asked: Boolean,
    val speculative: Boolean,
    val loadMs: Double,
    val loadMemBytes: Long?,
) {
    val trials = mutableListOf<Int>()
    var drafted: CycleCount? = null

    fun drafting(): String {
        val seen = drafted
        return if (!asked || (speculative && seen == null)) {
            "off"
        } else if (speculative && seen?.showsDrafting() == true) {
            "active"
        } else {
            "inactive"
        }
    }
}
