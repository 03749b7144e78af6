variable "name" {
  description = "What everything is called by, such as flytewheel-production."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}[a-z0-9]$", var.name))
    error_message = "Expected 4 to 32 lower-case letters, digits and hyphens, a letter first: a bucket is named by it."
  }
}

variable "environment" {
  description = "development, staging or production; the last one is not deleted by a slip."
  type        = string

  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "Expected development, staging or production, as the overlays of deploy/kubernetes."
  }
}

variable "cidr" {
  description = "Addresses of the network; routers reach the database inside of it (10.0.0.0/8 in deploy/kubernetes)."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && startswith(var.cidr, "10.") && tonumber(split("/", var.cidr)[1]) <= 20
    error_message = "Expected a network within 10.0.0.0/8 of at least 4,096 addresses, as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, two at least: the database stands in two."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 4
    error_message = "Expected two to four availability zones."
  }
}

variable "database_version" {
  description = "Major version of PostgreSQL."
  type        = string
  default     = "18"

  validation {
    condition     = contains(["16", "17", "18"], var.database_version)
    error_message = "Expected 16, 17 or 18."
  }
}

variable "database_class" {
  description = "Instance class of the database."
  type        = string
  default     = "db.m7g.large"

  validation {
    condition     = startswith(var.database_class, "db.")
    error_message = "Expected an RDS instance class, as db.m7g.large."
  }
}

variable "database_gib" {
  description = "Storage of the database to begin with; it grows up to four times that."
  type        = number
  default     = 100

  validation {
    condition     = var.database_gib >= 20 && var.database_gib <= 16000
    error_message = "Expected 20 to 16,000 GiB."
  }
}

variable "backup_days" {
  description = "Days for which the database can be put back to any moment. Erased people are in there as long: tell them so."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "Expected 7 to 35 days."
  }
}

variable "old_version_days" {
  description = "Days for which replaced and deleted objects are kept; erasures delete them at once."
  type        = number
  default     = 30

  validation {
    condition     = var.old_version_days >= 1 && var.old_version_days <= 365
    error_message = "Expected 1 to 365 days."
  }
}

variable "tags" {
  description = "Of everything."
  type        = map(string)
  default     = {}
}
