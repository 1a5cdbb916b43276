/** A row of the bar: claimed, or not and why. */
export interface Row {
  readonly id: string
  readonly says: string
  readonly not?: string
}

export declare const rows: ReadonlyArray<Row>

/** The ids of rows in a test's name. */
export declare const idsIn: (text: string) => ReadonlyArray<string>

/** What is wrong with the table, in words; nothing when all is well. */
export declare const problems: () => ReadonlyArray<string>

/** docs/security.md as it is, and as it should be. */
export declare const render: () => { readonly text: string; readonly rendered: string }
