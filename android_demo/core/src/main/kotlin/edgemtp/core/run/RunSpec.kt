package edgemtp.core.run

import edgemtp.core.bundle.BundleFacts
import edgemtp.core.device.DeviceFacts
import edgemtp.core.engine.Activation
import edgemtp.core.engine.Backend
import edgemtp.core.engine.EngineSettings
import edgemtp.core.engine.Switching
import edgemtp.core.json.JsonObject
import edgemtp.core.json.jsonOf
import edgemtp.core.plan.Plan

/** How the runtime is to be used. */
data class RuntimeChoice(
    val backend: Backend,
    val activation: Activation? = null,
    val switching: Switching = Switching.CONVERSATION,
    val maxContextTokens: Int? = null,
)

/** What the user says of the surroundings; null is "did not say". */
data class Setting(
    val ambientC: Double? = null,
    val brightness: Double? = null,
    val airplane: Boolean? = null,
    val plugged: Boolean? = null,
    val note: String? = null,
)

/** Everything about a run that is known before it starts. */
data class RunSpec(
    /** UUID, lower case. */
    val run: String,
    /** RFC 3339 with offset. */
    val wallTime: String,
    val plan: Plan,
    val bundle: BundleFacts,
    val choice: RuntimeChoice,
    val setting: Setting,
    val facts: DeviceFacts,
) {
    /** Settings of an engine with drafting or without. */
    fun engineSettings(speculative: Boolean): EngineSettings =
        EngineSettings(bundle.path, choice.backend, choice.activation, choice.maxContextTokens, speculative)
}

/** The fields of the `run` record, of a runtime called [runtimeName]; [cacheIsWarm] is asked before the first load. */
fun runFields(
    spec: RunSpec,
    runtimeName: String,
    runtimeVersion: String,
    cacheIsWarm: Boolean,
): JsonObject =
    jsonOf(
        "wall_time" to spec.wallTime,
        "app_version" to spec.facts.appVersion,
        "platform" to "android",
        "os_version" to spec.facts.osVersion,
        "device_model" to spec.facts.model,
        "soc" to spec.facts.soc,
        "ram_bytes" to spec.facts.ramBytes,
        "cores" to spec.facts.cores,
        "runtime" to runtime(spec.choice, runtimeName, runtimeVersion, cacheIsWarm),
        "bundle" to bundle(spec.bundle),
        "plan" to spec.plan.summary(),
        "setting" to setting(spec.setting),
    )

private fun runtime(
    choice: RuntimeChoice,
    name: String,
    version: String,
    cacheIsWarm: Boolean,
): JsonObject =
    jsonOf(
        "name" to name,
        "version" to version,
        "backend" to choice.backend.word,
        "activation" to choice.activation?.word,
        "max_context_tokens" to choice.maxContextTokens,
        "cache" to if (cacheIsWarm) "warm" else "cold",
        "switch" to choice.switching.word,
    )

private fun bundle(facts: BundleFacts): JsonObject =
    jsonOf(
        "file" to facts.fileName,
        "bytes" to facts.bytes,
        "sha256" to facts.sha256,
        "has_drafter" to facts.hasDrafter,
        "draft_steps" to facts.draftSteps,
        "manifest_sha256" to facts.manifestSha256,
    )

private fun setting(said: Setting): JsonObject =
    jsonOf(
        "ambient_c" to said.ambientC,
        "brightness" to said.brightness,
        "airplane" to said.airplane,
        "charger" to said.plugged?.let { if (it) "plugged" else "unplugged" },
        "note" to said.note,
    )
