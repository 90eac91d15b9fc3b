// The ledger's calls, and its numbers in the forms that charts want. Loaded only with the pages that show usage.
import { createClient } from '@connectrpc/connect'
import type { Duration } from '@bufbuild/protobuf/wkt'
import { BudgetUnit, UsageBucket, UsageDimension, UsageService, type BudgetStanding, type QueryUsageResponse, type UsageRange, type UsageSums } from '../gen/agentd/v1/usage_service_pb'
import { transport } from '../lib/api'
import { duration, money, tokens } from '../lib/format'

export const usage = createClient(UsageService, transport)

export const RANGES = [
  { key: '24h', name: '24 h', range: { lastHours: 24 }, bucket: UsageBucket.HOUR },
  { key: '7d', name: '7 d', range: { lastDays: 7 }, bucket: UsageBucket.DAY },
  { key: '30d', name: '30 d', range: { lastDays: 30 }, bucket: UsageBucket.DAY },
  { key: 'month', name: 'Month', range: { lastMonths: 1 }, bucket: UsageBucket.DAY },
  { key: 'custom', name: 'Custom', range: {}, bucket: UsageBucket.DAY },
] as const

export type Range = Partial<Omit<UsageRange, '$typeName' | '$unknown'>>

export const BY = [
  { key: 'model', name: 'model', dimension: UsageDimension.MODEL },
  { key: 'session', name: 'session', dimension: UsageDimension.SESSION },
  { key: 'task', name: 'task', dimension: UsageDimension.TASK },
  { key: 'persona', name: 'persona', dimension: UsageDimension.PERSONA },
  { key: 'provider', name: 'provider', dimension: UsageDimension.PROVIDER },
  { key: 'client', name: 'client', dimension: UsageDimension.CLIENT },
] as const

/** The zone of the person who looks. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC'

/** Micro-dollars that are known; 0 where nothing is. */
export const cost = (sums: UsageSums | undefined): number => Number(sums?.costMicroUsd ?? 0n)

export const seconds = (value: Duration | undefined): number => (value ? Number(value.seconds) + value.nanos / 1e9 : 0)

/** The days or hours below a chart: `Nov 22`, `14:00`. */
export function labels(answer: QueryUsageResponse, hours: boolean): string[] {
  const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
  return answer.points.map((point) => (hours ? point.local.slice(11, 16) : `${months[Number(point.local.slice(5, 7)) - 1] ?? ''} ${Number(point.local.slice(8, 10))}`))
}

export const asMoney = (micro: number): string => (micro === 0 ? '$0' : money(BigInt(Math.round(micro))))
export const asTokens = (n: number): string => tokens(Math.round(n))
export const asCount = (n: number): string => Math.round(n).toLocaleString('en')
export const asPercent = (n: number): string => `${Math.round(n)}%`
export const asSeconds = (n: number): string => (n < 10 ? `${n.toFixed(1)} s` : `${Math.round(n)} s`)

/** An amount of a budget in its own unit. */
export function amount(unit: BudgetUnit | undefined, n: bigint): string {
  switch (unit) {
    case BudgetUnit.MICRO_USD:
      return money(n)
    case BudgetUnit.TOKENS:
      return `${tokens(n)} tokens`
    case BudgetUnit.MILLISECONDS:
      return duration({ seconds: n / 1000n, nanos: Number(n % 1000n) * 1e6 } as Duration)
    default:
      return `${n} turns`
  }
}

/** Today's budget of money that covers all, if there is one. */
export function dayBudget(all: BudgetStanding[], window: number): BudgetStanding | undefined {
  const fits = all.filter((one) => one.budget?.window === window && one.budget.unit === BudgetUnit.MICRO_USD && !one.budget.only)
  return fits.sort((a, b) => Number((a.budget?.limit ?? 0n) - (b.budget?.limit ?? 0n)))[0]
}
