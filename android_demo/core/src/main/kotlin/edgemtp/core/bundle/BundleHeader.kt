package edgemtp.core.bundle

import java.io.EOFException
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val MAGIC = "LITERTLM"
private const val MAJOR_VERSION = 1
private const val PREAMBLE_BYTES = 32
private const val MAX_HEADER_BYTES = 1 shl 20
private const val TFLITE_MODEL = 3
private const val TEXT_VALUE = 9
private const val DRAFTER = "tf_lite_mtp_drafter"

/** A file that is no bundle, or a damaged one; the message says what was found. */
class BundleException(
    message: String,
) : Exception(message)

/** What a `.litertlm` bundle's header says that matters to the app. */
data class BundleHeader(
    val version: String,
    val sectionCount: Int,
    /** Model types of its model sections, lower case. */
    val modelTypes: List<String>,
) {
    /** Whether there is an MTP drafter. */
    val hasDrafter: Boolean get() = DRAFTER in modelTypes
}

/** Reads the header of [file] without reading the rest; [BundleException] where it is no whole bundle. */
fun readBundleHeader(file: File): BundleHeader =
    try {
        RandomAccessFile(file, "r").use { input ->
            val preamble = ByteArray(PREAMBLE_BYTES).also(input::readFully)
            val end = headerEnd(preamble, input.length())
            val header = ByteArray((end - PREAMBLE_BYTES).toInt()).also(input::readFully)
            parseHeader(preamble, header, input.length())
        }
    } catch (_: EOFException) {
        throw BundleException("${file.name} is cut short: ${file.length()} bytes; copy it again")
    } catch (error: BundleException) {
        throw BundleException("${file.name} ${error.message}")
    }

private fun headerEnd(
    preamble: ByteArray,
    fileBytes: Long,
): Long {
    val magic = String(preamble, 0, MAGIC.length, Charsets.ISO_8859_1)
    if (magic !=
        MAGIC
    ) {
        throw BundleException("is not a .litertlm bundle: it starts with ${shown(magic)}, expected $MAGIC")
    }
    val numbers = littleEndian(preamble)
    val major = numbers.getInt(8)
    if (major != MAJOR_VERSION) throw BundleException("has container version $major, this app reads $MAJOR_VERSION")
    val end = numbers.getLong(24)
    if (end <= PREAMBLE_BYTES || end > fileBytes || end > MAX_HEADER_BYTES) {
        throw BundleException("is cut short or damaged: its header ends at byte $end of $fileBytes; copy it again")
    }
    return end
}

private fun shown(magic: String): String = magic.map { if (it in ' '..'~') it else '.' }.joinToString("", "\"", "\"")

private fun littleEndian(bytes: ByteArray): ByteBuffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)

private fun parseHeader(
    preamble: ByteArray,
    header: ByteArray,
    fileBytes: Long,
): BundleHeader =
    try {
        val numbers = littleEndian(preamble)
        val sections = rootTable(littleEndian(header)).table(1)?.tables(0).orEmpty()
        if (sections.isEmpty()) throw BundleException("is damaged: its header lists no sections; copy it again")
        sections.forEach { checkPlace(it, fileBytes) }
        val types = sections.filter { it.byte(3) == TFLITE_MODEL }.mapNotNull(::modelType)
        BundleHeader("${numbers.getInt(8)}.${numbers.getInt(12)}.${numbers.getInt(16)}", sections.size, types)
    } catch (_: IndexOutOfBoundsException) {
        throw BundleException("is damaged: its header points outside itself; copy it again")
    }

private fun checkPlace(
    section: FlatTable,
    fileBytes: Long,
) {
    val begin = section.long(1)
    val end = section.long(2)
    if (begin < 0 || end < begin || end > fileBytes) {
        throw BundleException("is cut short: a section ends at byte $end of $fileBytes; copy it again")
    }
}

private fun modelType(section: FlatTable): String? =
    section
        .tables(0)
        .firstOrNull { it.text(0) == "model_type" && it.byte(1) == TEXT_VALUE }
        ?.table(2)
        ?.text(0)
        ?.lowercase()
