package edgemtp.core.bundle

import edgemtp.core.json.FormatException
import edgemtp.core.plan.sha256
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

private const val WITH_DRAFTER_BYTES = 140_096
private const val WITHOUT_DRAFTER_BYTES = 117_728

/** A bundle whose header is one that `edge-mtp export` wrote, and whose sections are zeros. */
fun bundleBytes(hasDrafter: Boolean = true): ByteArray {
    val name = if (hasDrafter) "with" else "without"
    val header = checkNotNull(BundleTest::class.java.getResource("/header-$name-drafter.bin")).readBytes()
    return header.copyOf(if (hasDrafter) WITH_DRAFTER_BYTES else WITHOUT_DRAFTER_BYTES)
}

/** The sidecar of [bytes], as `edge-mtp export` writes it. */
fun manifestText(
    bytes: ByteArray,
    hasDrafter: Boolean = true,
): String {
    val digest = sha256Of(bytes)
    return """{"schema_version": 1, "bundle": "a.litertlm", "size_bytes": ${bytes.size}, "sha256": "$digest",""" +
        """ "uuid": "x", "has_drafter": $hasDrafter, "draft_steps": ${if (hasDrafter) 3 else null}}"""
}

private fun sha256Of(bytes: ByteArray): String =
    edgemtp.core.plan.hexadecimal(
        java.security.MessageDigest
            .getInstance("SHA-256")
            .digest(bytes),
    )

class BundleTest {
    @TempDir
    lateinit var directory: File

    private fun file(bytes: ByteArray): File = File(directory, "a.litertlm").also { it.writeBytes(bytes) }

    private fun source(
        bytes: ByteArray,
        name: String = "a.litertlm",
    ) = ImportSource(name, bytes.size.toLong()) { ByteArrayInputStream(bytes) }

    @Test
    fun `a header says whether there is a drafter`() {
        val found = readBundleHeader(file(bundleBytes()))
        assertTrue(found.hasDrafter)
        assertTrue("tf_lite_prefill_decode" in found.modelTypes)
        assertTrue(found.version.startsWith("1."))
        assertFalse(readBundleHeader(file(bundleBytes(false))).hasDrafter)
    }

    @Test
    fun `what is no bundle is refused with what it is`() {
        val cases =
            mapOf(
                "starts with \"GGUF....\"" to "GGUF".toByteArray().copyOf(100),
                "cut short: 4 bytes" to "LITE".toByteArray(),
                "container version 7" to bundleBytes().also { it[8] = 7 },
                "header ends at byte" to bundleBytes().also { it[27] = 100 },
                "section ends at byte" to bundleBytes().copyOf(5000),
                "lists no sections" to bundleBytes().also { it.fill(0, 32) }.also { it[32] = 8 },
            )
        for ((words, bytes) in cases) {
            val error = assertFailsWith<BundleException>(words) { readBundleHeader(file(bytes)) }
            assertTrue(words in error.message.orEmpty(), "$words: ${error.message}")
            assertTrue("a.litertlm" in error.message.orEmpty())
        }
    }

    @Test
    fun `no damage of the header does worse than a refusal`() {
        val sound = bundleBytes()
        val random = edgemtp.core.plan.SplitMix64(1)
        var refused = 0
        repeat(500) {
            val bytes = sound.copyOf()
            repeat(3) { bytes[32 + random.below(928)] = random.below(256).toByte() }
            try {
                readBundleHeader(file(bytes))
            } catch (_: BundleException) {
                refused++
            }
        }
        assertTrue(refused > 100, "$refused of 500")
    }

    @Test
    fun `an import is whole, checked and without traces of its way`() {
        val bytes = bundleBytes()
        val store = BundleStore(directory) { Long.MAX_VALUE }
        val done = mutableListOf<Long>()
        val file = store.import(source(bytes), done::add)
        assertEquals(bytes.size.toLong(), done.last())
        store.import(source(manifestText(bytes).toByteArray(), "a.litertlm.json"), {})
        val facts = store.facts(file) { error("the import worked out sha256 already") }
        assertEquals(sha256Of(bytes), facts.sha256)
        assertEquals(sha256(manifestText(bytes)), facts.manifestSha256)
        assertEquals(3, facts.draftSteps)
        assertTrue(facts.hasDrafter)
        assertEquals(listOf(file), store.files())
        assertTrue(directory.list().orEmpty().none { it.endsWith(".part") })
    }

    @Test
    fun `a pushed bundle is read once, and again when it changed`() {
        val store = BundleStore(directory) { 0 }
        val file = file(bundleBytes(false))
        var reads = 0
        assertNull(store.facts(file) { reads++ }.manifestSha256)
        store.facts(file) { reads++ }
        assertEquals(1, reads)
        file.setLastModified(1_000_000)
        store.facts(file) { reads++ }
        assertEquals(2, reads)
        File(directory, "a.litertlm.sha256.json").writeText("{\"bytes\":")
        store.facts(file) { reads++ }
        assertEquals(3, reads)
    }

    @Test
    fun `a bundle that is not its manifest's is refused`() {
        val store = BundleStore(directory) { 0 }
        val bytes = bundleBytes()
        val file = file(bytes)
        val sidecar = File(directory, "a.litertlm.json")
        val cases =
            mapOf(
                "bytes, its manifest says 5" to manifestText(bytes).replace("${bytes.size}", "5"),
                "has sha256" to manifestText(bytes).replace("\"sha256\": \"", "\"sha256\": \"0"),
                "is no manifest" to "{",
                "schema version 2" to manifestText(bytes).replace("\"schema_version\": 1", "\"schema_version\": 2"),
            )
        for ((words, text) in cases) {
            sidecar.writeText(text)
            val error = assertFailsWith<BundleException>(words) { store.facts(file) {} }
            assertTrue(words in error.message.orEmpty(), "${error.message}")
        }
        assertFailsWith<FormatException> { readManifest("[]") }
        assertNull(readManifest(manifestText(bytes, false)).draftSteps)
    }

    @Test
    fun `too little space is said before anything is copied`() {
        val bytes = bundleBytes()
        val store = BundleStore(directory) { bytes.size.toLong() }
        val error = assertFailsWith<NotEnoughSpaceException> { store.import(source(bytes), { error("copied") }) }
        assertEquals(neededBytes(bytes.size.toLong()), error.neededBytes)
        assertEquals(3_755_500_000, neededBytes(2_590_000_000))
        assertEquals(emptyList(), directory.list().orEmpty().toList())
    }

    @Test
    fun `an import that breaks off, is cancelled or is no bundle leaves nothing`() {
        val store = BundleStore(directory) { Long.MAX_VALUE }
        val broken =
            ImportSource("a.litertlm", null) {
                object : java.io.InputStream() {
                    override fun read(): Int = throw IOException("the provider is gone")

                    override fun read(block: ByteArray): Int = throw IOException("the provider is gone")
                }
            }
        assertFailsWith<IOException> { store.import(broken, {}) }
        assertFailsWith<IOException> { store.import(source(bundleBytes()), {}, { true }) }
        assertFailsWith<BundleException> { store.import(source(ByteArray(100)), {}) }
        assertFailsWith<BundleException> { store.import(source(bundleBytes(), "model.gguf"), {}) }
        assertEquals(emptyList(), directory.list().orEmpty().toList())
    }

    @Test
    fun `a name with folders stays in the folder`() {
        val file = BundleStore(directory) { Long.MAX_VALUE }.import(source(bundleBytes(), "../../b.litertlm"), {})
        assertEquals(File(directory, "b.litertlm"), file)
    }
}
