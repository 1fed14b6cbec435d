package edgemtp.core.bundle

import edgemtp.core.json.FormatException
import edgemtp.core.json.JsonNull
import edgemtp.core.json.boolean
import edgemtp.core.json.integer
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.plan.sha256

/** A bundle on the phone. [sha256] is the file's own, null before it was worked out. */
data class BundleFacts(
    val path: String,
    val fileName: String,
    val bytes: Long,
    val sha256: String?,
    val hasDrafter: Boolean,
    val draftSteps: Int?,
    val manifestSha256: String?,
)

/** What the sidecar `BUNDLE.litertlm.json` says that the app can check. */
data class Manifest(
    val bundle: String,
    val sizeBytes: Long,
    val sha256: String,
    val hasDrafter: Boolean,
    val draftSteps: Int?,
    /** sha256 of the sidecar itself. */
    val ownSha256: String,
)

/** The manifest in [text]; [FormatException] where it is none. */
fun readManifest(text: String): Manifest {
    val found = readJsonObject(text)
    val version = found.integer("schema_version")
    if (version != 1L) throw FormatException("the manifest has schema version $version, this app reads 1")
    val steps = if (found["draft_steps"] == JsonNull) null else found.integer("draft_steps").toInt()
    return Manifest(
        bundle = found.text("bundle"),
        sizeBytes = found.integer("size_bytes"),
        sha256 = found.text("sha256"),
        hasDrafter = found.boolean("has_drafter"),
        draftSteps = steps,
        ownSha256 = sha256(text),
    )
}
