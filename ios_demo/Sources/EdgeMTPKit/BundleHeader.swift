import Foundation

/// What the first bytes of a `.litertlm` file tell: magic, version, header end at byte 24, a flatbuffer from byte 32.
public struct BundleHeader: Sendable, Equatable {
  /// `major.minor.patch` of the container.
  public let version: String
  /// Kinds of the model sections, lower case: `tf_lite_prefill_decode`, `tf_lite_mtp_drafter` and so on.
  public let models: [String]

  /// Whether MTP can be asked for.
  public var hasDrafter: Bool { models.contains("tf_lite_mtp_drafter") }

  /// Reads the header of the file at `url`. Throws `DataProblem` where it is no bundle or is cut short.
  public init(file url: URL) throws(DataProblem) {
    let data: Data
    do {
      let handle = try FileHandle(forReadingFrom: url)
      defer { try? handle.close() }
      data = try handle.read(upToCount: 16384) ?? Data()
    } catch {
      throw DataProblem("\(url.lastPathComponent) cannot be read", needed: "a .litertlm file", fix: "import it again")
    }
    try self.init(data: data, name: url.lastPathComponent)
  }

  /// Reads the header in the first bytes of a file called `name`.
  public init(data: Data, name: String) throws(DataProblem) {
    let bytes = [UInt8](data)
    guard bytes.count >= 32, bytes.starts(with: Array("LITERTLM".utf8)) else {
      throw DataProblem("\(name) is not a LiteRT-LM bundle", needed: "a .litertlm file", fix: "import another file")
    }
    let reader = FlatReader(bytes: bytes)
    version = [8, 12, 16].map { String(reader.u32($0) ?? 0) }.joined(separator: ".")
    guard let end = reader.u64(24), end > 32, end <= bytes.count,
      let models = FlatReader(bytes: Array(bytes[32..<Int(end)])).modelKinds()
    else {
      throw DataProblem("\(name) is cut short or damaged", needed: "the whole file", fix: "copy it to the phone again")
    }
    self.models = models
  }
}

/// The few steps through a flatbuffer that lead from the root to the sections' `model_type` attributes.
///
/// LiteRTLMMetaData { system_metadata, section_metadata } → SectionMetadata { objects } →
/// SectionObject { items, begin, end, type } → KeyValuePair { key, value_type, value } → StringValue { value }.
/// Every access is checked, so a damaged header gives nil.
struct FlatReader {
  let bytes: [UInt8]

  func modelKinds() -> [String]? {
    guard let root = target(0), let metadata = field(root, 1).flatMap(target),
      let objects = field(metadata, 0).flatMap(elements)
    else { return nil }
    return objects.flatMap { (field($0, 0).flatMap(elements) ?? []).compactMap(modelKind) }
  }

  private func modelKind(_ pair: Int) -> String? {
    guard field(pair, 0).flatMap(text) == "model_type", let value = field(pair, 2).flatMap(target) else { return nil }
    return field(value, 0).flatMap(text)?.lowercased()
  }

  /// The tables of a vector of tables, whose offset lies at `place`.
  private func elements(_ place: Int) -> [Int]? {
    guard let start = target(place), let count = u32(start), count <= 1024 else { return nil }
    return (0..<Int(count)).compactMap { target(start + 4 + 4 * $0) }
  }

  private func text(_ place: Int) -> String? {
    guard let start = target(place), let count = u32(start), start + 4 + Int(count) <= bytes.count else { return nil }
    return String(bytes: bytes[start + 4..<start + 4 + Int(count)], encoding: .utf8)
  }

  /// Where field `number` of the table at `table` lies; nil where the table has none.
  private func field(_ table: Int, _ number: Int) -> Int? {
    guard let back = u32(table) else { return nil }
    let vtable = table - Int(Int32(bitPattern: back))
    guard let size = u16(vtable), 4 + 2 * number < Int(size), let offset = u16(vtable + 4 + 2 * number), offset != 0
    else { return nil }
    return table + Int(offset)
  }

  private func target(_ place: Int) -> Int? { u32(place).map { place + Int($0) } }

  func u16(_ place: Int) -> UInt16? { number(place, 2).map { UInt16($0) } }
  func u32(_ place: Int) -> UInt32? { number(place, 4).map { UInt32($0) } }
  func u64(_ place: Int) -> UInt64? { number(place, 8) }

  private func number(_ place: Int, _ size: Int) -> UInt64? {
    guard place >= 0, place + size <= bytes.count else { return nil }
    return (0..<size).reduce(0) { $0 | UInt64(bytes[place + $1]) << (8 * UInt64($1)) }
  }
}
