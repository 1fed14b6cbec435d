package edgemtp.core.bundle

import edgemtp.core.json.FormatException
import edgemtp.core.json.integer
import edgemtp.core.json.jsonOf
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.json.writeJson
import edgemtp.core.plan.hexadecimal
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.security.MessageDigest

/** The runtime repacks the weights once into a cache; for E2B in int4 it took 1.15 GB beside 2.59 GB. */
private const val CACHE_SHARE = 0.45
private const val BLOCK_BYTES = 1 shl 20

/** Storage cannot take the bundle. */
class NotEnoughSpaceException(
    val neededBytes: Long,
    val freeBytes: Long,
) : Exception("needed $neededBytes bytes, found $freeBytes")

/** A file to import, from a document picker. [bytes] is null where the provider does not say. */
class ImportSource(
    val name: String,
    val bytes: Long?,
    val open: () -> InputStream,
)

/** The folder that holds bundles and their sidecars; `adb push` puts them there too. */
class BundleStore(
    private val directory: File,
    private val freeBytes: () -> Long,
) {
    /** Files that are bundles by their name, in order. */
    fun files(): List<File> =
        directory
            .listFiles { file ->
                file.isFile && file.name.endsWith(".litertlm")
            }.orEmpty()
            .sortedBy { it.name }

    /**
     * What is known of [file]: its header, its sidecar if there is one, and its sha256, which is worked out once and
     * kept until size or time of the file change; [progress] gets bytes done. [BundleException] where the file is
     * damaged or does not fit its sidecar.
     */
    fun facts(
        file: File,
        progress: (Long) -> Unit,
    ): BundleFacts {
        val header = readBundleHeader(file)
        val manifest = manifest(file)
        if (manifest != null && manifest.sizeBytes != file.length()) {
            throw BundleException(
                "${file.name} has ${file.length()} bytes, its manifest says ${manifest.sizeBytes}; copy it again",
            )
        }
        val digest = digest(file, progress)
        if (manifest != null && manifest.sha256 != digest) {
            throw BundleException(
                "${file.name} has sha256 $digest, its manifest says ${manifest.sha256}; copy it again",
            )
        }
        val own = manifest?.ownSha256
        return BundleFacts(file.path, file.name, file.length(), digest, header.hasDrafter, manifest?.draftSteps, own)
    }

    /** Takes in [source]; written aside and renamed. [progress] gets bytes done. Returns the file. */
    fun import(
        source: ImportSource,
        progress: (Long) -> Unit,
        cancelled: () -> Boolean = { false },
    ): File {
        val name = safeName(source.name)
        directory.mkdirs()
        checkSpace(if (name.endsWith(".json")) source.bytes ?: 0 else neededBytes(source.bytes ?: 0))
        val aside = File(directory, "$name.part")
        val file = File(directory, name)
        try {
            val digest =
                source.open().use { input ->
                    aside.outputStream().use { copy(input, it, progress, cancelled) }
                }
            if (name.endsWith(".litertlm")) readBundleHeader(aside)
            if (!aside.renameTo(file)) throw IOException("cannot rename ${aside.name} to $name")
            if (name.endsWith(".litertlm")) keepDigest(file, digest)
        } finally {
            aside.delete()
        }
        return file
    }

    private fun checkSpace(needed: Long) {
        val free = freeBytes()
        if (needed > free) throw NotEnoughSpaceException(needed, free)
    }

    private fun manifest(file: File): Manifest? {
        val sidecar = File(directory, file.name + ".json")
        if (!sidecar.exists()) return null
        try {
            return readManifest(sidecar.readText())
        } catch (error: FormatException) {
            throw BundleException("${sidecar.name} is no manifest: ${error.message}; copy it again or delete it")
        }
    }

    private fun digest(
        file: File,
        progress: (Long) -> Unit,
    ): String {
        keptDigest(file)?.let { return it }
        val found = file.inputStream().use { copy(it, NOWHERE, progress) { false } }
        keepDigest(file, found)
        return found
    }

    private fun digestFile(file: File): File = File(directory, file.name + ".sha256.json")

    private fun keepDigest(
        file: File,
        digest: String,
    ) {
        val kept = jsonOf("bytes" to file.length(), "modified_ms" to file.lastModified(), "sha256" to digest)
        digestFile(file).writeText(writeJson(kept))
    }

    private fun keptDigest(file: File): String? =
        try {
            val kept = digestFile(file).takeIf { it.exists() }?.let { readJsonObject(it.readText()) }
            val same = kept?.integer("bytes") == file.length() && kept.integer("modified_ms") == file.lastModified()
            if (same) kept.text("sha256") else null
        } catch (_: FormatException) {
            null // (cut short by a kill: it is worked out anew)
        }
}

/** Storage that a bundle of [bundleBytes] takes, with the runtime's weight cache. */
fun neededBytes(bundleBytes: Long): Long = bundleBytes + (bundleBytes * CACHE_SHARE).toLong()

private fun safeName(name: String): String {
    val last = name.substringAfterLast('/')
    if (!last.endsWith(".litertlm") && !last.endsWith(".litertlm.json")) {
        throw BundleException("$last is neither a .litertlm bundle nor its .litertlm.json; choose one of these")
    }
    return last
}

/** Copies all of [input]; returns its sha256. */
private fun copy(
    input: InputStream,
    output: OutputStream,
    progress: (Long) -> Unit,
    cancelled: () -> Boolean,
): String {
    val digest = MessageDigest.getInstance("SHA-256")
    val block = ByteArray(BLOCK_BYTES)
    var done = 0L
    while (true) {
        if (cancelled()) throw IOException("the import was cancelled")
        val count = input.read(block)
        if (count < 0) return hexadecimal(digest.digest())
        digest.update(block, 0, count)
        output.write(block, 0, count)
        done += count
        progress(done)
    }
}

private val NOWHERE =
    object : OutputStream() {
        override fun write(byte: Int) = Unit

        override fun write(
            bytes: ByteArray,
            from: Int,
            count: Int,
        ) = Unit
    }
